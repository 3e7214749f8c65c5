//! Files through the real queue, catalog and lake.

mod faults;
mod files;
mod world;
