//! The gRPC contracts, one module an area, generated from `tidemill/<area>/v1/*.proto`, and the Open Inference Protocol's beside them; [`Reason`], how every
//! service tells why a call failed; [`json`], how values travel in structs; [`DeadlineLayer`], how every service keeps its
//! caller's deadline; and [`Hosts`], whom it answers.
//!
//! Generated types stay out of other crates' signatures: `workers/*` convert at the door.
#![expect(
    missing_docs,
    clippy::allow_attributes,
    clippy::pedantic,
    reason = "generated; the .proto files carry the words"
)]

mod deadline;
pub mod json;
mod origin;
mod status;

pub use deadline::{Deadline, DeadlineLayer};
pub use origin::Hosts;
pub use status::Reason;

/// Every contract as a descriptor set, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tidemill.bin"));

/// Features, online and historical.
pub mod features {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("tidemill.features.v1");
    }
}

/// The Open Inference Protocol, version 2.
pub mod inference {
    tonic::include_proto!("inference");
}

/// Uploads.
pub mod ingest {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("tidemill.ingest.v1");
    }
}

/// Predictions.
pub mod serving {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("tidemill.serving.v1");
    }
}
