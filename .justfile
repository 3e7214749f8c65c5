# The menu: `just` lists the recipes. Each is one line; anything longer is a script.

set shell := ["bash", "-euo", "pipefail", "-c"]

# List the recipes
default:
    @just --list --unsorted

# Set up the private environment: Python packages, servers, the DuckDB library, the flights
setup:
    scripts/setup

# Tell the story on a year of real flights; `just demo --once` ends after it
demo *arguments:
    scripts/demo {{arguments}}

# Run all that must hold, as continuous integration does
check:
    scripts/test

# Run some parts of it: format lint arrows rust docs python pit doors demo
part +names:
    scripts/test {{names}}

# Run the tests of one crate, e.g. `just test store`
test crate *arguments:
    . scripts/env.sh && cargo test --locked --package tidemill-{{crate}} {{arguments}}

# Format Rust and Python
format:
    . scripts/env.sh && cargo fmt --all && "$TIDEMILL_VENV/bin/ruff" format workers/python pipelines

# Check that arrows point one way and each library stays in its home
arrows:
    scripts/test arrows

# Run everything on this machine, data in .tidemill/
dev *arguments:
    . scripts/env.sh && cargo run --locked --quiet --package tidemill-cli -- dev {{arguments}}

# Build and open the documentation of the crates
docs:
    . scripts/env.sh && cargo doc --locked --workspace --no-deps --open

# Start Postgres, Valkey, Kafka and an S3 server as containers instead of packages
services:
    docker compose up --wait
