//! Drift, data quality and performance: counts, statistics, incidents, notifications, reports.
