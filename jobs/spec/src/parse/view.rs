//! `FeatureView`.

use std::time::Duration;

use crate::{
    Aggregate, Feature, FeatureView, Freshness, InputView, Meta, OnlineFeatures, Operand, Rule, ViewInput,
    yaml::{
        Data,
        fields::{At, Fields, list},
    },
};

/// What a feature may be computed by; exactly one.
const RULES: [&str; 14] = [
    "last",
    "sql",
    "age",
    "count",
    "sum",
    "mean",
    "min",
    "max",
    "stddev",
    "first",
    "distinct",
    "mode",
    "percentile",
    "top",
];

/// What the short form of a feature stands for in its view.
#[derive(Clone, Copy, PartialEq)]
enum Short {
    /// The newest row's column of that name.
    Last,
    /// One of the values that the view's function returns.
    Python,
    /// Nothing: a derived view says how.
    None,
}

pub(super) fn view(fields: &mut Fields<'_>, name: String, meta: Meta) -> FeatureView {
    for later in ["stream", "retention", "shards"] {
        fields.later(later);
    }
    let entity = fields.need("entity").and_then(|at| at.name());
    let input = input(fields);
    let python = fields.get("python").map(|at| entry(&at).unwrap_or_default());
    let batch = fields.get("batch").and_then(|at| at.bool()).unwrap_or(false);
    let timeout = fields.get("timeout").and_then(|at| timeout(&at, python.is_some()));
    let short = match (&python, &input) {
        (Some(_), _) => Short::Python,
        (None, Some(ViewInput::Views(_))) => Short::None,
        _ => Short::Last,
    };
    let features = fields.need("features").and_then(|at| at.named_entries()).map(|entries| {
        entries
            .into_iter()
            .filter_map(|(name, at)| Some((name.clone(), feature(&at, &name, short)?)))
            .collect()
    });
    let ttl = fields.get("ttl").and_then(|at| at.duration());
    let online = fields.get("online").and_then(|at| online(&at)).unwrap_or_default();
    let freshness = fields.get("freshness").and_then(|at| freshness(&at));
    let leak_allowed = fields.get("leak").and_then(|at| at.choice(&["allow"])).is_some();
    // What could not be read is empty: it was reported, and nothing refers to it.
    let (entity, features) = (entity.unwrap_or_default(), features.unwrap_or_default());
    let input = input.unwrap_or(ViewInput::Source(String::new()));
    FeatureView {
        name,
        meta,
        entity,
        input,
        ttl,
        features,
        python,
        batch,
        timeout,
        online,
        freshness,
        leak_allowed,
    }
}

fn timeout(at: &At<'_>, python: bool) -> Option<Duration> {
    let timeout = at.duration()?;
    if !python {
        at.key_error(212, "`timeout` belongs to a view whose `python` computes its features", "")
            .help("leave it out");
    } else if !(Duration::from_secs(1)..=Duration::from_hours(1)).contains(&timeout) {
        at.error(209, "a call may take between 1s and 1h");
    }
    Some(timeout)
}

fn input(fields: &mut Fields<'_>) -> Option<ViewInput> {
    let both = fields.present(&["source", "inputs"]);
    if both.len() == 2 {
        let inputs = fields.get("inputs")?;
        inputs.key_error(212, "a view has either `source` or `inputs`", "");
    }
    if let Some(at) = fields.get("inputs") {
        let items = at.list()?;
        if items.is_empty() {
            at.error(209, "a view over views has at least one input");
        }
        return Some(ViewInput::Views(items.iter().filter_map(input_view).collect()));
    }
    fields.need("source")?.name().map(ViewInput::Source)
}

/// A view's name, or `{ view, as, keys }`.
fn input_view(at: &At<'_>) -> Option<InputView> {
    if let Data::Scalar { .. } = at.node.data {
        return at.name().map(InputView::named);
    }
    let mut fields = at.fields("the input")?;
    let read = read_as(&mut fields);
    fields.finish();
    read
}

/// Which view is read, as what, and by which keys.
pub(super) fn read_as(fields: &mut Fields<'_>) -> Option<InputView> {
    let view = fields.need("view").and_then(|at| at.name());
    let role = fields.get("as").and_then(|at| at.name());
    let keys = fields.get("keys").and_then(|at| at.entries()).unwrap_or_default();
    let keys = keys.into_iter().filter_map(|(key, at)| Some((key, at.name()?))).collect();
    Some(InputView { view: view?, role, keys })
}

/// `module:function`.
pub(crate) fn entry(at: &At<'_>) -> Option<String> {
    let text = at.text()?;
    let parts = text.split_once(':');
    let right =
        parts.is_some_and(|(module, function)| module.split('.').all(identifier) && identifier(function));
    if right || text.contains("${{") {
        return Some(text);
    }
    at.error(209, format!("`{text}` is not of the form `module:function`"))
        .help("for example `transforms.airport:stress`");
    None
}

fn identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn feature(at: &At<'_>, name: &str, short: Short) -> Option<Feature> {
    if let Data::Scalar { .. } = at.node.data {
        let ty = at.ty()?;
        return Some(Feature { ty, rule: implied(at, name, short)?, default: None });
    }
    let mut fields = at.fields(format!("feature `{name}`"))?;
    let ty = fields.need("type").and_then(|at| at.ty());
    let given = fields.present(&RULES);
    let rule = match given.as_slice() {
        [] => implied(at, name, short),
        [one] => rule(&mut fields, one),
        [_, second, ..] => {
            let at = RULES.iter().filter_map(|rule| fields.get(rule)).last()?;
            at.key_error(212, format!("feature `{name}` has more than one rule: {}", list(&given)), "")
                .help(format!("leave out all but one, e.g. `{second}`"));
            None
        }
    };
    if !matches!(rule, Some(Rule::Window { .. })) {
        for only in fields.present(&["where", "window", "hop", "p", "n"]) {
            if let Some(at) = fields.get(only) {
                at.key_error(212, format!("`{only}` belongs to a windowed aggregate"), "")
                    .help(format!("say what is computed over a window: {}", list(&Aggregate::WORDS)));
            }
        }
    }
    let default = fields.get("default");
    if let (Some(at), Some(Rule::Window { aggregate, .. })) = (&default, &rule)
        && aggregate.counts()
    {
        at.key_error(212, format!("`{name}` counts, and a count of nothing is 0: it has no `default`"), "")
            .help("leave it out");
    }
    let default = default.zip(ty).and_then(|(at, ty)| at.value(ty));
    fields.finish();
    if short == Short::Python && matches!(&rule, Some(rule) if *rule != Rule::Python) {
        at.key_error(305, format!("feature `{name}` has a rule, but the view's function computes it"), "")
            .help("leave the rule out, or move the feature to a view without `python`");
    }
    Some(Feature { ty: ty?, rule: rule?, default })
}

fn implied(at: &At<'_>, name: &str, short: Short) -> Option<Rule> {
    match short {
        Short::Last => Some(Rule::Last(name.to_owned())),
        Short::Python => Some(Rule::Python),
        Short::None => {
            at.key_error(
                204,
                format!("feature `{name}` does not say how it is computed"),
                "`sql` is missing",
            )
            .help(format!("write `{name}: {{ type: …, sql: … }}`, or give the view a `python` function"));
            None
        }
    }
}

fn rule(fields: &mut Fields<'_>, word: &'static str) -> Option<Rule> {
    match word {
        // The newest row's value, whatever its age; with a window the newest that counts in it.
        "last" if fields.present(&["window", "n"]).is_empty() => fields.get(word)?.name().map(Rule::Last),
        "sql" => fields.get(word)?.text().map(Rule::Sql),
        "age" => {
            let at = fields.get(word)?;
            if at.bool()? {
                Some(Rule::Age)
            } else {
                at.error(209, "`age` is `true`, or left out");
                None
            }
        }
        _ => windowed(fields, word, window),
    }
}

/// An aggregate over a window. `window`: reads its length and hop.
pub(super) fn windowed(
    fields: &mut Fields<'_>,
    word: &'static str,
    window: impl FnOnce(&mut Fields<'_>) -> Option<(Duration, Duration)>,
) -> Option<Rule> {
    let at = fields.get(word)?;
    let aggregate = match word {
        "count" => Aggregate::Count,
        "sum" => Aggregate::Sum,
        "mean" => Aggregate::Mean,
        "min" => Aggregate::Min,
        "max" => Aggregate::Max,
        "stddev" => Aggregate::Stddev,
        "first" => Aggregate::First,
        "last" if fields.present(&["n"]).is_empty() => Aggregate::Last,
        "last" => Aggregate::LastN { n: values(fields) },
        "top" => Aggregate::Top { n: values(fields) },
        "distinct" => Aggregate::Distinct,
        "mode" => Aggregate::Mode,
        // One that could not be read was reported.
        _ => Aggregate::Percentile {
            p: fields.need("p").and_then(|at| at.float_within(0.0, 1.0)).unwrap_or_default(),
        },
    };
    if let (Some(at), false) = (fields.get("p"), matches!(aggregate, Aggregate::Percentile { .. })) {
        at.key_error(212, "`p` belongs to `percentile`", "").help("leave it out");
    }
    let many = matches!(aggregate, Aggregate::LastN { .. } | Aggregate::Top { .. });
    if let (Some(at), false) = (fields.get("n"), many) {
        at.key_error(212, "`n` belongs to `last` and `top`", "").help("leave it out");
    }
    let of = at.text()?;
    if of == "*" && aggregate != Aggregate::Count {
        at.error(209, format!("`{word}` needs a column or an expression")).help("only `count` takes \"*\"");
    }
    let condition = fields.get("where").and_then(|at| at.text());
    let of = (of != "*").then(|| Operand::from(of));
    let (window, hop) = window(fields)?;
    Some(Rule::Window { aggregate, of, condition, window, hop })
}

/// A window that ends at the moment of asking.
fn window(fields: &mut Fields<'_>) -> Option<(Duration, Duration)> {
    let window_at = fields.need("window");
    let window = window_at.as_ref().and_then(At::duration);
    let hop_at = fields.get("hop");
    let hop = hop_at.as_ref().and_then(At::duration);
    let window = window.unwrap_or(Duration::MAX);
    let hop = hop.unwrap_or_else(|| default_hop(window));
    if hop > window {
        let at = hop_at.or(window_at)?;
        at.error(401, "the window is shorter than its hop")
            .help("the tail of a window is floored to the hop: 5 minutes under 12 hours, 1 hour under 12 days, else 1 day");
    }
    Some((window, hop))
}

/// How many values a list has at most. A number that could not be read was reported.
fn values(fields: &mut Fields<'_>) -> u32 {
    let n = fields.need("n").and_then(|at| at.int(1, Aggregate::N_MAX));
    n.and_then(|n| u32::try_from(n).ok()).unwrap_or(1)
}

/// Chronon's steps: 5 minutes under 12 hours, 1 hour under 12 days, else 1 day.
fn default_hop(window: Duration) -> Duration {
    const HOUR: u64 = 3_600;
    Duration::from_secs(match window.as_secs() {
        seconds if seconds < 12 * HOUR => 300,
        seconds if seconds < 12 * 24 * HOUR => HOUR,
        _ => 24 * HOUR,
    })
}

fn online(at: &At<'_>) -> Option<OnlineFeatures> {
    if let Data::List(_) = at.node.data {
        let names = at.names()?;
        return Some(if names.is_empty() { OnlineFeatures::None } else { OnlineFeatures::Some(names) });
    }
    at.bool().map(|all| if all { OnlineFeatures::All } else { OnlineFeatures::None })
}

fn freshness(at: &At<'_>) -> Option<Freshness> {
    let mut fields = at.fields("the freshness")?;
    let warn = fields.get("warn").and_then(|at| at.duration());
    let fail = fields.get("fail").and_then(|at| at.duration());
    fields.finish();
    if matches!((warn, fail), (Some(warn), Some(fail)) if warn > fail) {
        at.key_error(403, "freshness fails before it warns", "").help("`warn` is the shorter one");
    }
    Some(Freshness { warn, fail })
}
