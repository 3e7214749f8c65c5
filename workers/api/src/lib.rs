//! The control plane: apply, runs, metadata, registry over REST; features over gRPC.
