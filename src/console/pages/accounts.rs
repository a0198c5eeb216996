//! `/accounts`: who may do what.

use super::super::Visit;
use super::super::answer::{Answer, Failure};

pub(in crate::console) fn get(_visit: &Visit<'_>, _rest: &str) -> Answer {
    Err(Failure::NotFound)
}

pub(in crate::console) fn post(_visit: &Visit<'_>, _rest: &str) -> Answer {
    Err(Failure::NotFound)
}
