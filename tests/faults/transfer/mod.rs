//! `pannier export` and `pannier import`: everything arrives as it was, or nothing does and one sentence says why.

mod damage;
mod homes;
mod large;
mod material;
mod moves;
mod replace;
