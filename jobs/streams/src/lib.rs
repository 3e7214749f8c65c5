//! Records of Kafka to validated rows of the lake.
