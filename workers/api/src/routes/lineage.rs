//! Lineage up and down.

use axum::extract::State;
use serde::Deserialize;
use serde_json::json;
use tidemill_spec::Objects;

use super::{Answer, one};
use crate::{Api, error::ApiError, extract::Asked};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lineage {
    object: String,
    direction: Option<Direction>,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Direction {
    Up,
    Down,
}

/// `GET /v1/lineage?object=view/aircraft_delay&direction=up`
pub(super) async fn lineage(State(api): State<Api>, Asked(asked): Asked<Lineage>) -> Answer {
    let catalog = &api.stores.catalog;
    let object = named(&asked.object, &catalog.lineage_objects().await?, &catalog.objects().await?)?;
    let wants = |direction| asked.direction.is_none_or(|wanted| wanted == direction);
    let up = if wants(Direction::Up) { catalog.lineage_up(&object).await? } else { Vec::new() };
    let down = if wants(Direction::Down) { catalog.lineage_down(&object).await? } else { Vec::new() };
    one(json!({ "object": object, "up": up, "down": down }))
}

/// The object as lineage names it. People may leave the kind out where the name says enough.
fn named(asked: &str, known: &[String], objects: &Objects) -> Result<String, ApiError> {
    let plain = asked.split('@').next().unwrap_or(asked);
    // What is declared but was not made of anything yet has no edges.
    let declared: Vec<String> =
        objects.definitions().iter().map(|definition| definition.object.to_string()).collect();
    let is_known = |object: &&String| object.as_str() == plain;
    if known.iter().chain(&declared).any(|object| is_known(&object)) {
        return Ok(asked.to_owned());
    }
    let ends = |object: &&&String| object.split_once('/').is_some_and(|(_, name)| name == plain);
    let mut meant: Vec<&String> = known.iter().chain(&declared).collect();
    meant.sort();
    meant.dedup();
    match meant.iter().filter(ends).collect::<Vec<_>>().as_slice() {
        [one] => Ok(one.replace(plain, asked)),
        _ => Err(ApiError::unknown(108, "object", asked, meant)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_may_be_named_without_its_kind() {
        let known = ["view/route_week".to_owned(), "source/late".to_owned(), "label/late".to_owned()];
        let named = |asked| named(asked, &known, &Objects::default());
        assert_eq!(named("view/route_week").unwrap(), "view/route_week");
        assert_eq!(named("route_week").unwrap(), "view/route_week");
        assert_eq!(named("route_week@2").unwrap(), "view/route_week@2");
        assert!(named("late").is_err(), "two kinds have it");
        assert!(named("view/rout_week").is_err());
    }
}
