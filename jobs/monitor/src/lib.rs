//! Drift, data quality and performance: counts, statistics, incidents, notifications, reports.
//!
//! Reading order: [`counts`] (bins frozen from a reference, exact counts in them), `words` (what a file's text is), `defect`
//! (what isn't as it should be), [`measure`] (PSI, JS, KS, Hellinger
//! from counts), [`verdict`] and `judge` (what they mean), [`window`] (which instants), [`compare`] (two tables or
//! files, without a server), all of them pure; then [`jobs`]: `monitor.scan` reads a window (`subject`: a model's, as
//! serving saw it; `table`: a source's or view's), writes what it found in one transaction and leaves a page (`report`);
//! `notify` delivers it, where `webhooks` allows. [`start_scan`] and [`MonitorTicks`] start scans. [`ModelWatch`] opens incidents
//! of live models that don't answer, [`judge_rollouts`] those of candidates that it rolls back. Formulas: `docs/reference/drift.md`.

mod arrival;
mod champion;
mod column;
mod compare;
pub mod counts;
mod defect;
mod error;
mod facts;
mod faults;
mod histogram;
mod judge;
mod list;
pub mod measure;
mod notify;
mod report;
mod rollouts;
mod scan;
mod silent;
mod start;
mod subject;
mod table;
pub mod verdict;
mod webhooks;
pub mod window;
mod words;

pub use column::{Bin, ColumnReport, Spread, compare_column};
pub use compare::{CompareReport, compare, compare_files};
pub use defect::{Defect, DefectKind, Side};
pub use error::Error;
pub use judge::{CheckResult, shown};
pub use list::{MonitorHistory, MonitorRow, monitor, monitors};
pub use measure::Distances;
pub use rollouts::judge_rollouts;
pub use scan::Scan;
pub use silent::ModelWatch;
pub use start::{MonitorTicks, start_scan};
pub use tidemill_registry::Deps;
pub use verdict::Verdict;
pub use webhooks::{Secrets, WebhookOptions, Webhooks};

use tidemill_runtime::JobEntry;

/// The jobs of monitors. They ask models as the registry does, so they need what it needs.
pub fn jobs(deps: &Deps, webhooks: &Webhooks) -> Vec<JobEntry> {
    vec![
        JobEntry::new(scan::ScanJob { deps: deps.clone() }),
        JobEntry::new(notify::NotifyJob { deps: deps.clone(), webhooks: webhooks.clone() }),
    ]
}
