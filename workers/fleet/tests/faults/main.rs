//! Every kind of job that the fleet runs, under every fault: whatever an attempt asks the database for fails, or is
//! done and the reply is lost, or the process dies before it. The world must end as if nothing had happened.
//!
//! One loop over the kinds that are registered: a kind without a scenario fails it.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod digest;
mod erasure;
mod scenarios;
mod webhook;
mod world;

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use scenarios::{SCENARIOS, Scenario};
use tidemill_testkit::faults;
use world::Template;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_survives_every_fault() -> anyhow::Result<()> {
    let template = Template::fill("shop").await?;
    let registered: BTreeSet<String> = template.kinds().await?;
    let told: BTreeSet<String> = SCENARIOS.iter().map(|scenario| scenario.kind.to_owned()).collect();
    assert_eq!(registered, told, "each registered kind has a scenario, and no scenario is of another kind");
    // One of them, for whoever writes it.
    let only = std::env::var("TIDEMILL_TEST_KIND").ok();
    for scenario in
        SCENARIOS.iter().filter(|scenario| only.as_deref().is_none_or(|kind| kind == scenario.kind))
    {
        survives(&template, scenario).await.with_context(|| scenario.name())?;
    }
    Ok(())
}

async fn survives(template: &Template, scenario: &Scenario) -> anyhow::Result<()> {
    let fresh = async || template.world().await?.under(scenario).await;
    let operations = faults::fails_at_every_step(fresh).await?;
    ensure!(operations > 0, "it asks the database for nothing");
    faults::repeats_every_step(fresh).await?;
    faults::dies_between_effect_and_checkpoint(fresh).await?;
    Ok(())
}
