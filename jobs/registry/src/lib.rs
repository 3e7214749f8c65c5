//! Model versions and aliases; publishes the live set to Redis.
