//! Every member of the family from outside: its recipe, what it learns in a short run, what it refuses, and how it is judged.

mod ablations;
mod clips;
mod flows;
mod health;
mod imitating;
mod judged;
mod made;
mod names;
mod planning;
mod probing;
mod recipes;
mod rolled;
mod series;
mod settings;
mod sounds;
mod teacher;
mod worlds;
