//! What the scenarios cannot show of relations: bounds, and laws that hold whatever happens.

mod merging;
mod topology;
