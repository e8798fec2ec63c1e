//! What a model over objects knows: where each of them will be, where one is that was hidden, and what would become of all of them if
//! one had moved otherwise. The world itself says what is true.

use std::f32::consts::{FRAC_PI_2, PI};
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use foretell_data::Window;
use foretell_data::random::{Stream, rng, shuffled};
use foretell_eval::{
    Better, Cell, FEATURES, Features, Figures, Finding, Ridge, TRAINED, UNTRAINED, adjusted_rand_index,
};
use foretell_jepa::dynamics::State;
use foretell_jepa::matching::assigned;
use foretell_nn::slot_attention::SlotAutoencoder;
use foretell_ops as ops;
use foretell_train::Which;
use foretell_world::{Body, Episode, Experience, Imagination, Play, PlayConfig, Playground, Split, World};
use rand::RngExt;

use super::{FORETOLD, HELD_OUT, LEARNING, STRIDE, following, imagination, recorded};
use crate::judging::Judging;
use crate::system::JudgeError;

/// Steps of the model that are foretold, at most, and those of which the errors are shown.
const AHEAD: usize = 20;
const SHOWN: [usize; 4] = [1, 5, 10, 20];
/// Held-out cases of each question.
const CASES: u64 = 256;
/// Actions before the first observation of a case: nothing is as it was put there.
const WARM: usize = 20;
/// Windows of play from which it is learnt to read places.
const READ: u64 = 128;
/// So many objects are hidden at most, where that leaves one.
const MOST_HIDDEN: usize = 4;
/// An object has been reached by a change elsewhere when it is farther than this from where it would have been, in the world's units.
const REACHED: f32 = 0.5;
/// The last observations show what another velocity leads to: its object is seen to move otherwise in all that follow this one.
const SINCE: usize = 3;
/// The step of the held-out stream that cases are drawn from, behind those of [`HELD_OUT`].
const DRAWN: u64 = 4;

/// What comes next, what was hidden and what if: of play, beside controls. Of recordings, what comes next.
pub fn objects(run: &Judging<'_, Experience>) -> Result<Vec<Finding>, JudgeError> {
    let (trained, untrained) = (imagination(run, Which::Trained)?, imagination(run, Which::Untrained)?);
    let playground = match run.data.as_ref() {
        Experience::Play(playground) => playground,
        Experience::Episodes(episodes) => return recorded(episodes, &trained, &untrained),
    };
    let (world, history, block) = (playground.world.as_ref(), trained.model.history(), trained.block);
    let ahead = AHEAD.min((playground.play.config().episode - 1) / block + 1 - history);
    let longer = PlayConfig { window: history + ahead, ..*playground.play.config() };
    let longer = Play::new(Arc::clone(&playground.world), longer, run.on.seed)
        .map_err(|error| JudgeError::Other(error.to_string()))?;
    let windows: Vec<Window> = (0..FORETOLD).map(|i| longer.window(Split::HeldOut, HELD_OUT[1], i)).collect();
    let mut found = following(&trained, &untrained, &windows)?;
    if world.bodies(&longer.window(Split::HeldOut, HELD_OUT[1], 0).states).is_empty() {
        return Ok(found);
    }
    let finder = |which| -> Result<Option<SlotAutoencoder>, JudgeError> {
        Ok(run.kept(which)?.encoder.network().downcast_ref::<SlotAutoencoder>().cloned())
    };
    let told = [
        Told::new(&trained, finder(Which::Trained)?, playground)?,
        Told::new(&untrained, finder(Which::Untrained)?, playground)?,
    ];
    let draw = |change| -> Vec<Case> {
        (0..CASES).map(|i| Case::draw(world, (run.on.seed, i), (history, ahead, block), change)).collect()
    };
    found.push(what_if(
        &told,
        &[Change::Nothing, Change::Velocity, Change::Action].map(|change| (change, draw(change))),
    ));
    found.extend(inferred(&told, &draw(Change::Nothing), run.on.seed));
    found.extend(discovered(&told, &draw(Change::Nothing)));
    Ok(found)
}

/// What is otherwise than it was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Nothing,
    /// An object that no action moves gets another velocity, some observations before the last.
    Velocity,
    /// After the last observation something else is done.
    Action,
}

/// One question: what is seen, what is done, and what follows in truth.
struct Case {
    layout: Vec<f32>,
    /// `[h][S]`.
    seen: Vec<Vec<f32>>,
    /// `[h − 1 + ahead]`, blocks of actions.
    actions: Vec<Vec<f32>>,
    /// `[ahead][N]`, after the change.
    truth: Vec<Vec<Body>>,
    /// The same where nothing had been changed.
    unchanged: Vec<Vec<Body>>,
    /// The object that was changed.
    changed: usize,
}

/// States after each block of actions, the first state before them.
fn simulated(world: &dyn World, layout: &[f32], state: &[f32], blocks: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let mut states = vec![state.to_vec()];
    for block in blocks {
        let mut state = states[states.len() - 1].clone();
        block.chunks_exact(world.spec().action).for_each(|action| world.step(layout, &mut state, action));
        states.push(state);
    }
    states
}

impl Case {
    fn draw(
        world: &dyn World,
        (seed, index): (u64, u64),
        (history, ahead, block): (usize, usize, usize),
        change: Change,
    ) -> Self {
        let (mut rng, width) = (rng(seed, Stream::Task, DRAWN, index), world.spec().action);
        let task = world.reset(Split::HeldOut, &mut rng);
        let done = world.behave(&task, WARM + (history - 1 + ahead) * block, &mut rng);
        let (before, done) = done.split_at(WARM * width);
        let start = simulated(world, &task.layout, &task.state, &[before.to_vec()]).pop().unwrap_or_default();
        let mut actions: Vec<Vec<f32>> = done.chunks_exact(block * width).map(<[f32]>::to_vec).collect();
        let was = simulated(world, &task.layout, &start, &actions);
        let (mut states, mut changed) = (was.clone(), 0);
        match change {
            Change::Nothing => {}
            Change::Velocity => {
                let from = history.saturating_sub(SINCE);
                let mut bodies = world.bodies(&was[from]);
                changed = rng.random_range(1..bodies.len());
                let Body { velocity: [x, y], .. } = bodies[changed];
                // Turned by a quarter of a circle or more, and no slower than half a unit a step.
                let turned = y.atan2(x) + FRAC_PI_2 + PI * rng.random::<f32>();
                let speed = x.hypot(y).max(0.5);
                bodies[changed].velocity = [speed * turned.cos(), speed * turned.sin()];
                let other = world.of_bodies(&bodies).unwrap_or_else(|| was[from].clone());
                states.truncate(from);
                states.extend(simulated(world, &task.layout, &other, &actions[from..]));
            }
            Change::Action => {
                let now = Episode { state: was[history - 1].clone(), ..task.clone() };
                let other = world.behave(&now, ahead * block, &mut rng);
                actions.truncate(history - 1);
                actions.extend(other.chunks_exact(block * width).map(<[f32]>::to_vec));
                states.truncate(history - 1);
                states.extend(simulated(world, &task.layout, &now.state, &actions[history - 1..]));
            }
        }
        let bodies = |states: &[Vec<f32>]| states[history..].iter().map(|state| world.bodies(state)).collect();
        let (truth, unchanged) = (bodies(&states), bodies(&was));
        states.truncate(history);
        Self { layout: task.layout, seen: states, actions, truth, unchanged, changed }
    }
}

/// A model, and how the places of objects are read from its slots.
struct Told<'a> {
    imagination: &'a Imagination,
    world: &'a dyn World,
    /// What finds objects in pictures, where the world does not name them.
    finder: Option<SlotAutoencoder>,
    reader: Ridge,
}

/// Places `[N]` of the objects of each case.
type Places = Vec<Vec<[f32; 2]>>;

/// What slots draw of pictures beside what is there.
struct Masks {
    /// Of each picture the share of each place that each slot has drawn, `[K, P]`.
    drawn: Vec<Vec<f32>>,
    /// Of each picture the share of each place that each object covers, `[N, P]`.
    there: Vec<Vec<f32>>,
    places: usize,
}

/// Masks `[N, side, side]` at half their resolution.
fn halved(masks: &[f32], side: usize) -> Vec<f32> {
    let half = side / 2;
    let at = |n: usize, row: usize, column: usize| masks[(n * side + row) * side + column];
    (0..masks.len() / (side * side) * half * half)
        .map(|i| {
            let (n, row, column) = (i / (half * half), i / half % half * 2, i % half * 2);
            (at(n, row, column) + at(n, row, column + 1) + at(n, row + 1, column) + at(n, row + 1, column + 1)) / 4.0
        })
        .collect()
}

impl Masks {
    fn of(finder: &SlotAutoencoder, world: &dyn World, pictures: Tensor<4>, states: &[&[f32]]) -> Self {
        let side = world.spec().observation[1];
        let masks = finder.draw(finder.slots(pictures)).masks;
        let [_, slots, places] = masks.dims();
        let drawn = ops::values(masks).chunks_exact(slots * places).map(<[f32]>::to_vec).collect();
        let there = states.iter().map(|state| halved(&world.masks(state), side)).collect();
        Self { drawn, there, places }
    }

    /// What a slot of a picture has drawn of what an object covers, as a share of both together.
    fn overlap(&self, picture: usize, object: usize, slot: usize) -> f32 {
        let of = |masks: &[f32], i: usize| masks[i * self.places..][..self.places].to_vec();
        let (drawn, there) = (of(&self.drawn[picture], slot), of(&self.there[picture], object));
        let both: f32 = drawn.iter().zip(&there).map(|(a, b)| a * b).sum();
        both / (drawn.iter().sum::<f32>() + there.iter().sum::<f32>() - both).max(f32::MIN_POSITIVE)
    }

    /// For each object of a picture its slot, and their overlap: each slot has one object at most, as far as there are enough.
    fn owners(&self, picture: usize) -> Vec<(usize, f32)> {
        let [objects, slots] = [&self.there, &self.drawn].map(|all| all[picture].len() / self.places);
        let n = objects.max(slots);
        let overlap = |object: usize, slot: usize| {
            if object < objects && slot < slots { self.overlap(picture, object, slot) } else { 0.0 }
        };
        let costs: Vec<f32> = (0..n * n).map(|i| -overlap(i / n, i % n)).collect();
        let chosen = assigned(&costs, n);
        (0..objects).map(|object| (chosen[object].min(slots - 1), overlap(object, chosen[object]))).collect()
    }
}

impl<'a> Told<'a> {
    fn new(
        imagination: &'a Imagination,
        finder: Option<SlotAutoencoder>,
        playground: &'a Playground,
    ) -> Result<Self, JudgeError> {
        let Playground { world, play } = playground;
        let (pixels, width) = (world.spec().pixels(), world.spec().state);
        let (mut slots, mut places, mut count) = (Vec::new(), Vec::new(), 0);
        for i in 0..READ {
            let window = play.window(Split::Training, LEARNING, i);
            let moments: Vec<usize> = (0..window.frames).step_by(STRIDE).collect();
            let states: Vec<&[f32]> = moments.iter().map(|t| &window.states[t * width..][..width]).collect();
            let seen: Vec<f32> =
                moments.iter().flat_map(|t| window.observations[t * pixels..][..pixels].to_vec()).collect();
            let pictures = imagination.prepared(seen);
            let latents = imagination.model.encode(pictures.clone());
            let [_, of_picture, d] = latents.dims();
            let values = ops::values(latents);
            let masks = finder.as_ref().map(|finder| Masks::of(finder, world.as_ref(), pictures, &states));
            for (picture, state) in states.iter().enumerate() {
                let owners = masks.as_ref().map(|masks| masks.owners(picture));
                for (object, body) in world.bodies(state).iter().enumerate() {
                    let slot = owners.as_ref().map_or(object, |owners| owners[object].0);
                    slots.extend(&values[(picture * of_picture + slot) * d..][..d]);
                    places.extend(body.place);
                    count += 1;
                }
            }
        }
        let features = Features::new(count, slots.len() / count.max(1), slots)?;
        Ok(Self { imagination, world: world.as_ref(), finder, reader: Ridge::fit(&features, &places)? })
    }

    /// What a moment of each case looks like, as the model takes it.
    fn seen(&self, cases: &[Case], moment: usize) -> Tensor<4> {
        let pixels = self.world.spec().pixels();
        let mut seen = vec![0.0; cases.len() * pixels];
        for (case, out) in cases.iter().zip(seen.chunks_exact_mut(pixels)) {
            self.world.render(&case.layout, &case.seen[moment], out);
        }
        self.imagination.prepared(seen)
    }

    /// The slots of a moment of each case, `[B, K, D]`.
    fn look(&self, cases: &[Case], moment: usize) -> Tensor<3> {
        self.imagination.model.encode(self.seen(cases, moment))
    }

    /// What slots draw of the last moment of each case that is seen.
    fn masks(&self, cases: &[Case]) -> Option<Masks> {
        let finder = self.finder.as_ref()?;
        let last = cases.first().map_or(0, |case| case.seen.len() - 1);
        let states: Vec<&[f32]> = cases.iter().map(|case| &case.seen[last][..]).collect();
        Some(Masks::of(finder, self.world, self.seen(cases, last), &states))
    }

    /// For each object of each case its slot, at the last moment that is seen: whose order all slots that are told are in.
    fn owners(&self, cases: &[Case]) -> Vec<Vec<usize>> {
        match self.masks(cases) {
            Some(masks) => {
                (0..cases.len()).map(|case| masks.owners(case).into_iter().map(|(slot, _)| slot).collect()).collect()
            }
            None => cases.iter().map(|case| (0..self.world.bodies(&case.seen[0]).len()).collect()).collect(),
        }
    }

    /// What is done after a moment of each case, as the model takes it, `[B, A]`.
    fn acted(&self, cases: &[Case], moment: usize) -> Tensor<2> {
        let mut blocks: Vec<f32> = cases.iter().flat_map(|case| case.actions[moment].clone()).collect();
        self.imagination.actions.scale(&mut blocks, 1);
        let shape = [cases.len(), blocks.len() / cases.len().max(1)];
        Tensor::from_data(TensorData::new(blocks, shape), &self.imagination.device)
    }

    /// Places of objects that are read from their slots, of `[B, K, D]`.
    fn places(&self, slots: Tensor<3>, owners: &[Vec<usize>]) -> Places {
        let [_, k, _] = slots.dims();
        let read = self.reader.predict(&ops::values(slots));
        let of_case = |(places, owners): (&[f32], &Vec<usize>)| {
            owners.iter().map(|slot| [places[2 * slot], places[2 * slot + 1]]).collect()
        };
        read.chunks_exact(2 * k).zip(owners).map(of_case).collect()
    }

    /// Where the model says that objects will be after each of its steps.
    fn foretold(&self, cases: &[Case]) -> Vec<Places> {
        let (history, owners) = (self.imagination.model.history(), self.owners(cases));
        let begin = State::begin(self.look(cases, 0));
        let mut state =
            (1..history).fold(begin, |state, t| state.then(self.acted(cases, t - 1), self.look(cases, t), history));
        let ahead = cases.first().map_or(0, |case| case.truth.len());
        (0..ahead)
            .map(|k| {
                state = self.imagination.model.step(state.clone(), self.acted(cases, history - 1 + k));
                self.places(state.newest().clone(), &owners)
            })
            .collect()
    }

    /// Where the model says that objects were at each moment, of those that are hidden by what the others did: for each way of hiding
    /// some.
    fn inferred(&self, cases: &[Case], ways: &[Vec<bool>]) -> Option<Vec<Vec<Places>>> {
        let (history, owners) = (self.imagination.model.history(), self.owners(cases));
        let slots: Vec<Tensor<3>> = (0..history).map(|t| self.look(cases, t)).collect();
        let actions: Vec<Tensor<2>> = (0..history).map(|t| self.acted(cases, t)).collect();
        let of_way = |hidden: &Vec<bool>| {
            // The same objects' slots, in the newest observation's order.
            let told = self.imagination.model.inferred(&slots, &actions, &Self::of_slots(hidden, &owners, &slots))?;
            let places = |t| self.places(told.clone().narrow(1, t, 1).squeeze_dim(1), &owners);
            Some((0..history).map(places).collect())
        };
        ways.iter().map(of_way).collect()
    }

    /// Of each slot `[B, K]` whether it is that of a hidden object, of hidden objects `[B, N]`.
    fn of_slots(hidden: &[bool], owners: &[Vec<usize>], slots: &[Tensor<3>]) -> Vec<bool> {
        let [cases, k, _] = slots[0].dims();
        let mut gone = vec![false; cases * k];
        let objects = hidden.len() / cases.max(1);
        for (row, _) in hidden.iter().enumerate().filter(|(_, hidden)| **hidden) {
            gone[row / objects * k + owners[row / objects][row % objects]] = true;
        }
        gone
    }
}

fn apart(a: [f32; 2], b: [f32; 2]) -> f64 {
    f64::from((a[0] - b[0]).hypot(a[1] - b[1]))
}

/// Where a body is after some steps if nothing meets it.
fn carried(body: &Body, steps: usize) -> [f32; 2] {
    std::array::from_fn(|axis| body.place[axis] + steps as f32 * body.velocity[axis])
}

/// The mean of distances, and of how many.
#[derive(Default)]
struct Mean {
    sum: f64,
    count: usize,
}

impl Mean {
    fn add(&mut self, distance: f64) {
        self.sum += distance;
        self.count += 1;
    }

    fn of(&self) -> f64 {
        self.sum / self.count as f64
    }
}

/// Whose errors are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    All,
    Changed,
    Reached,
}

impl Whose {
    fn counts(self, case: &Case, k: usize, object: usize) -> bool {
        let other = || apart(case.truth[k][object].place, case.unchanged[k][object].place) > f64::from(REACHED);
        match self {
            Self::All => true,
            Self::Changed => object == case.changed,
            Self::Reached => object != case.changed && other(),
        }
    }
}

/// Errors of places by steps ahead, where nothing is changed, a velocity or what is done.
fn what_if(told: &[Told<'_>; 2], asked: &[(Change, Vec<Case>)]) -> Finding {
    let dims = ["question", "objects", "ahead", FEATURES];
    let mut figures = Figures::new(&dims, "error", "world units", Better::Lower).along("ahead");
    let [trained, untrained] = told;
    let block = trained.imagination.block;
    for (change, cases) in asked {
        let (question, groups): (_, &[(&str, Whose)]) = match change {
            Change::Nothing => ("as it was", &[("all", Whose::All)]),
            Change::Velocity => {
                ("another velocity", &[("the changed one", Whose::Changed), ("others that it reaches", Whose::Reached)])
            }
            Change::Action => {
                ("other actions", &[("the changed one", Whose::Changed), ("others that it reaches", Whose::Reached)])
            }
        };
        let foretold = [trained.foretold(cases), untrained.foretold(cases)];
        for (objects, whose) in groups {
            for ahead in SHOWN.into_iter().filter(|ahead| *ahead <= foretold[0].len()) {
                let k = ahead - 1;
                let error = |place: &dyn Fn(usize, usize) -> [f32; 2]| {
                    let mut mean = Mean::default();
                    for (c, case) in cases.iter().enumerate() {
                        let counted = (0..case.truth[k].len()).filter(|object| whose.counts(case, k, *object));
                        counted.for_each(|object| mean.add(apart(place(c, object), case.truth[k][object].place)));
                    }
                    mean
                };
                let last = |c: usize| trained.world.bodies(&cases[c].seen[cases[c].seen.len() - 1]);
                let lasts: Vec<Vec<Body>> = (0..cases.len()).map(last).collect();
                let mut rows = vec![
                    (TRAINED, error(&|c, object| foretold[0][k][c][object])),
                    (UNTRAINED, error(&|c, object| foretold[1][k][c][object])),
                    ("last place", error(&|c, object| lasts[c][object].place)),
                    ("constant velocity", error(&|c, object| carried(&lasts[c][object], ahead * block))),
                ];
                if *change != Change::Nothing {
                    rows.push(("as if unchanged", error(&|c, object| cases[c].unchanged[k][object].place)));
                }
                for (features, mean) in rows.into_iter().filter(|(_, mean)| mean.count > 0) {
                    figures.push([question.into(), (*objects).into(), ahead.into(), features.into()], mean.of());
                    if let Some(row) = figures.rows.last_mut() {
                        row.samples = Some(mean.count);
                    }
                }
            }
        }
    }
    let lead = format!(
        "How far each object is foretold to be from where it is, by steps ahead, over {CASES} held-out episodes of the simulator. As it was; \
         with another velocity of one object that no action moves, from the {SINCE}rd observation before the end on; with other actions \
         after the last observation. Others are reached if the change moves them by more than {REACHED}. Places are read from slots by a \
         linear map. `as if unchanged` is the truth of the episode without the change: an answer that knows everything but what was \
         asked."
    );
    Finding::figures("what_if", "What if", &lead, figures)
}

/// Errors of the places of hidden objects over the history, by how many are hidden; `None` of a model that hides none.
fn inferred(told: &[Told<'_>; 2], cases: &[Case], seed: u64) -> Option<Finding> {
    let [trained, untrained] = told;
    let moments = cases.first()?.seen.len();
    let objects = trained.world.bodies(&cases[0].seen[0]).len();
    let mut figures = Figures::new(&["hidden", FEATURES], "error", "world units", Better::Lower);
    let seen: Vec<Vec<Vec<Body>>> =
        cases.iter().map(|case| case.seen.iter().map(|state| trained.world.bodies(state)).collect()).collect();
    let counts = 1..=MOST_HIDDEN.min(objects.saturating_sub(1));
    let draw = |count: usize| -> Vec<bool> {
        let hides = |case: usize| {
            let order = shuffled(objects, &mut rng(seed, Stream::Judge, count as u64, case as u64));
            let mut hidden = vec![false; objects];
            order.into_iter().take(count).for_each(|object| hidden[object as usize] = true);
            hidden
        };
        (0..cases.len()).flat_map(hides).collect()
    };
    let ways: Vec<Vec<bool>> = counts.clone().map(draw).collect();
    let said = [trained.inferred(cases, &ways)?, untrained.inferred(cases, &ways)?];
    for (way, count) in counts.enumerate() {
        let hidden = &ways[way];
        let error = |place: &dyn Fn(usize, usize, usize) -> [f32; 2]| {
            let mut mean = Mean::default();
            for (row, _) in hidden.iter().enumerate().filter(|(_, hidden)| **hidden) {
                let (c, object) = (row / objects, row % objects);
                (1..moments).for_each(|t| mean.add(apart(place(c, object, t), seen[c][t][object].place)));
            }
            mean.of()
        };
        let block = trained.imagination.block;
        let rows = [
            (TRAINED, error(&|c, object, t| said[0][way][t][c][object])),
            (UNTRAINED, error(&|c, object, t| said[1][way][t][c][object])),
            ("first place", error(&|c, object, _| seen[c][0][object].place)),
            ("constant velocity", error(&|c, object, t| carried(&seen[c][0][object], t * block))),
        ];
        for (features, error) in rows {
            figures.push([Cell::from(count), features.into()], error);
        }
    }
    let lead = format!(
        "How far hidden objects are told to be from where they were, over the {} observations after the first, in which they were seen for \
         the last time: from what the others did. Over {CASES} held-out episodes, by the number of hidden objects.",
        moments - 1
    );
    Some(Finding::figures("inferred", "What hidden objects did", &lead, figures))
}

/// How well slots tell objects apart, beside stripes; `None` of objects that are known.
fn discovered(told: &[Told<'_>; 2], cases: &[Case]) -> Option<Finding> {
    let [trained, untrained] = [told[0].masks(cases)?, told[1].masks(cases)?];
    let places = trained.places;
    // As many stripes as there are slots, from left to right.
    let (slots, side) = (trained.drawn[0].len() / places, places.isqrt());
    let stripe = |slot: usize, place: usize| f32::from(u8::from(place % side * slots / side == slot));
    let stripes: Vec<f32> = (0..slots).flat_map(|slot| (0..places).map(move |place| stripe(slot, place))).collect();
    let stripes = Masks { drawn: vec![stripes; cases.len()], there: trained.there.clone(), places };
    let mut figures = Figures::new(&["score", FEATURES], "agreement", "", Better::Higher);
    let largest = |all: &[f32], place: usize| {
        let of = |i: &usize| all[i * places + place];
        (0..all.len() / places).max_by(|a, b| of(a).total_cmp(&of(b))).unwrap_or(0)
    };
    let scores = [(TRAINED, &trained), (UNTRAINED, &untrained), ("stripes", &stripes)].map(|(features, masks)| {
        let (mut index, mut overlap) = (Mean::default(), Mean::default());
        for (picture, (drawn, there)) in masks.drawn.iter().zip(&masks.there).enumerate() {
            let covered = |place: &usize| there.iter().skip(*place).step_by(places).sum::<f32>() > 0.5;
            let (found, objects): (Vec<usize>, Vec<usize>) =
                (0..places).filter(covered).map(|place| (largest(drawn, place), largest(there, place))).unzip();
            index.add(adjusted_rand_index(&found, &objects));
            masks.owners(picture).iter().for_each(|(_, shared)| overlap.add(f64::from(*shared)));
        }
        (features, index.of(), overlap.of())
    });
    for (features, index, _) in &scores {
        figures.push(["foreground ARI".into(), (*features).into()], *index);
    }
    for (features, _, overlap) in &scores {
        figures.push(["overlap".into(), (*features).into()], *overlap);
    }
    let lead = format!(
        "How well slots tell the objects of {CASES} held-out pictures apart, held against the simulator's masks. Foreground ARI: the adjusted \
         Rand index of the pixels that objects cover, 0 by chance and 1 where each object has a slot of its own. Overlap: intersection over \
         union of each object and the slot that is assigned to it. Beside it as many upright stripes as there are slots."
    );
    Some(Finding::figures("discovered", "Which objects were found", &lead, figures))
}
