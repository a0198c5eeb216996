//! `/`: what waits, what was refused, what is to come, how everything is.

use super::super::Visit;
use super::super::answer::{Answer, Failure};

pub(in crate::console) fn get(_visit: &Visit<'_>, _rest: &str) -> Answer {
    Err(Failure::NotFound)
}
