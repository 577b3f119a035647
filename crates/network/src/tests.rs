//! Whole networks: drafted at random beside a computation too simple to be wrong, refused, and damaged.

mod draft;
mod hostile;
mod refused;
mod whole;
