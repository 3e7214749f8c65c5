//! Compiles every `.proto` below `inference/` and `tidemill/` with a compiler written in Rust, so that no protoc is needed.

use std::{env, error::Error, fs, path::PathBuf};

const PROTOS: &[&str] = &[
    "inference/v2/inference.proto",
    "tidemill/features/v1/features.proto",
    "tidemill/ingest/v1/ingest.proto",
    "tidemill/serving/v1/serving.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=inference");
    println!("cargo:rerun-if-changed=tidemill");
    let descriptors = protox::compile(PROTOS, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let bytes = protox::prost::Message::encode_to_vec(&descriptors);
    fs::write(out.join("tidemill.bin"), bytes)?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
