//! Monitor and Notifier.

use crate::{
    Check, Every, Meta, Monitor, MonitorTarget, Notifier, Reference, units,
    yaml::{
        Data,
        fields::{At, Fields, list},
    },
};

const MEASURES: [&str; 8] = ["psi", "js", "ks", "label_rate", "auc", "null_rate", "freshness", "volume"];

pub(super) fn monitor(fields: &mut Fields<'_>, name: String, meta: Meta) -> Option<Monitor> {
    for later in ["actions", "severity", "silence", "segments"] {
        fields.later(later);
    }
    let target = fields.need("target").and_then(|at| target(&at));
    let every = fields.need("every").and_then(|at| every(&at));
    let timezone = fields.get("timezone").and_then(|at| timezone(&at)).unwrap_or_else(|| "UTC".to_owned());
    let reference = match fields.get("reference") {
        Some(at) => reference(&at),
        // Only a model has a training snapshot; others say what they are compared with.
        None => Some(Reference::Training),
    };
    let checks = fields.need("checks").and_then(|at| {
        let items = at.list()?;
        if items.is_empty() {
            at.error(209, "a monitor has at least one check");
        }
        Some(items.iter().filter_map(check).collect())
    });
    let notify = fields.get("notify").and_then(|at| at.names()).unwrap_or_default();
    Some(Monitor {
        name,
        meta,
        target: target?,
        every: every.unwrap_or(Every::Months(1)),
        timezone,
        reference: reference.unwrap_or(Reference::Training),
        checks: checks.unwrap_or_default(),
        notify,
    })
}

fn target(at: &At<'_>) -> Option<MonitorTarget> {
    let mut fields = at.fields("the target")?;
    let given = fields.present(&["model", "source", "view"]);
    let [one] = given.as_slice() else {
        at.key_error(212, "a monitor has one target", "")
            .help("write `target: { model: NAME }`, or `source`, or `view`");
        return None;
    };
    let name = fields.get(one).and_then(|at| at.name());
    fields.finish();
    Some(match *one {
        "model" => MonitorTarget::Model(name?),
        "source" => MonitorTarget::Source(name?),
        _ => MonitorTarget::View(name?),
    })
}

/// `1 month`, `3 months`, or a duration; its windows follow one another without gaps.
fn every(at: &At<'_>) -> Option<Every> {
    let text = at.text()?;
    let months = text.split_once(' ').filter(|(_, unit)| matches!(*unit, "month" | "months"));
    let every = match months.and_then(|(count, _)| count.parse().ok()) {
        Some(count) => Some(Every::Months(count)),
        None => units::parse_duration(&text).map(Every::Duration),
    };
    if every.is_none_or(|every| every.cron().is_none()) {
        at.error(209, format!("`{text}` is not a cadence")).help(
            "write minutes that divide an hour (`15m`), hours that divide a day (`6h`), days (`7d`), or months that \
             divide a year (`1 month`)",
        );
        return None;
    }
    every
}

pub(super) fn timezone(at: &At<'_>) -> Option<String> {
    let text = at.text()?;
    if text.parse::<chrono_tz::Tz>().is_ok() {
        return Some(text);
    }
    at.error(315, format!("`{text}` is not a time zone"))
        .help("use a name of the IANA database, such as `America/New_York`");
    None
}

fn reference(at: &At<'_>) -> Option<Reference> {
    if let Data::Scalar { .. } = at.node.data {
        return at.choice(&["training"]).map(|_| Reference::Training);
    }
    let mut fields = at.fields("the reference")?;
    let from = fields.need("from").and_then(|at| at.time());
    let to = fields.need("to").and_then(|at| at.time());
    fields.finish();
    let (from, to) = (from?, to?);
    if from >= to {
        at.key_error(209, "the reference ends before it begins", "");
    }
    Some(Reference::Range { from, to })
}

fn check(at: &At<'_>) -> Option<Check> {
    let mut fields = at.fields("the check")?;
    let given = fields.present(&MEASURES);
    let [measure] = given.as_slice() else {
        // A misspelled measure is the unknown field; its limits would only be named beside it.
        for measure in MEASURES {
            fields.get(measure);
        }
        let limits = ["warn", "fail", "max", "min", "max_change", "max_drop"].map(|limit| fields.get(limit));
        drop(limits);
        let said = at.report.count();
        fields.finish();
        if at.report.count() == said {
            at.error(212, format!("a check has one measure: {}", list(&MEASURES)));
        }
        return None;
    };
    let subject = fields.get(measure)?;
    let check = match *measure {
        "psi" | "js" | "ks" => {
            let columns = names_or_name(&subject);
            let warn_at = fields.get("warn");
            let warn = warn_at.as_ref().and_then(|at| at.float(0.0));
            let fail = fields.need("fail").and_then(|at| at.float(0.0));
            if let (Some(warn), Some(fail), Some(at)) = (warn, fail, warn_at)
                && warn > fail
            {
                at.error(209, format!("warn {warn} is above fail {fail}"));
            }
            columns.zip(fail).map(|(columns, fail)| Check::Drift {
                measure: (*measure).to_owned(),
                columns,
                warn,
                fail,
            })
        }
        "label_rate" => {
            let max_change = fields.need("max_change").and_then(|at| at.float(0.0));
            subject.name().zip(max_change).map(|(label, max_change)| Check::LabelRate { label, max_change })
        }
        "auc" => {
            let max_drop = fields.need("max_drop").and_then(|at| at.float(0.0));
            subject.name().zip(max_drop).map(|(label, max_drop)| Check::Auc { label, max_drop })
        }
        "null_rate" => {
            let max = fields.need("max").and_then(|at| at.float(0.0));
            subject.name().zip(max).map(|(column, max)| Check::NullRate { column, max })
        }
        "freshness" => {
            let max = fields.need("max").and_then(|at| at.duration());
            subject.name().zip(max).map(|(object, max)| Check::Freshness { object, max })
        }
        _ => volume(&subject),
    };
    fields.finish();
    check
}

fn volume(at: &At<'_>) -> Option<Check> {
    let mut fields = at.fields("the volume")?;
    let min = fields.need("min").and_then(|at| at.int(0, i64::MAX));
    fields.finish();
    Some(Check::Volume { min: min?.unsigned_abs() })
}

fn names_or_name(at: &At<'_>) -> Option<Vec<String>> {
    match at.node.data {
        Data::Scalar { .. } => at.name().map(|name| vec![name]),
        _ => at.names(),
    }
}

pub(super) fn notifier(fields: &mut Fields<'_>, name: String, meta: Meta) -> Option<Notifier> {
    for later in ["slack", "email", "pagerduty"] {
        fields.later(later);
    }
    let mut webhook = fields.need("webhook")?.fields("the webhook")?;
    let url_at = webhook.need("url");
    let url = url_at.as_ref().and_then(At::text);
    webhook.finish();
    let (at, url) = (url_at?, url?);
    let notifier = Notifier { name, meta, webhook_url: url };
    let url = &notifier.webhook_url;
    let written = url.starts_with("https://") || url.starts_with("http://");
    // Beside an address of somebody's choice, a secret would be sent there.
    if notifier.secret().is_none() && (!written || url.contains("${{")) {
        at.error(209, "a webhook's url is `https://…`, `http://…`, or one secret that is the whole of it")
            .help("name a secret: \"${{ secrets.OPS_WEBHOOK }}\"");
    }
    Some(notifier)
}
