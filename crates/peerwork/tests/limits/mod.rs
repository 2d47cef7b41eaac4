//! Limits, rates and gates as users set them, on nodes that run.

mod choosing;
mod gates;
mod limiting;
mod setting;
