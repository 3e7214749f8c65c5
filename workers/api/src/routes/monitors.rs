//! Monitors and incidents.

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_core::Fault;

use super::{Answer, items, one};
use crate::{Api, error::ApiError};
