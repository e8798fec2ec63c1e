//! What a world is.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::silent::Linear;
use crate::worlds::WorldConfig;

/// A world, or its play, that cannot be as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorldError {
    /// No world has this name.
    #[error("there is no world `{name}`; known are {}", WorldConfig::known())]
    Unknown {
        /// The name.
        name: String,
    },
    /// A setting out of its range.
    #[error("{0}")]
    Setting(String),
}

impl WorldError {
    /// A picture of too few or too many pixels a side.
    pub(crate) fn resolution(found: usize) -> Self {
        Self::Setting(format!("`data.world.resolution` must be 16 to 256 pixels, found {found}"))
    }
}

/// Lengths of what a world takes and gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The command line's name.
    pub name: String,
    /// `[C, H, W]` of an observation; a vector of K numbers is `[K, 1, 1]`.
    pub observation: [usize; 3],
    /// Numbers in a state.
    pub state: usize,
    /// Numbers in an action.
    pub action: usize,
    /// Which actions there are; others are cut to it.
    pub reach: Reach,
}

impl Spec {
    /// Numbers in an observation.
    pub fn pixels(&self) -> usize {
        self.observation.iter().product()
    }

    /// An action cut to what there is.
    pub fn within_reach(&self, action: &mut [f32]) {
        self.reach.cut(action);
    }
}

/// Which actions a world takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reach {
    /// Those of at most this Euclidean norm.
    Ball(f32),
    /// Those whose numbers lie within ± this.
    Box(f32),
}

impl Reach {
    /// The largest number that an action can hold.
    pub fn most(self) -> f32 {
        let (Self::Ball(most) | Self::Box(most)) = self;
        most
    }

    /// Cuts an action to what there is: shortens it, or clips each number. What is not finite becomes 0.
    pub fn cut(self, action: &mut [f32]) {
        action.iter_mut().filter(|x| !x.is_finite()).for_each(|x| *x = 0.0);
        match self {
            Self::Ball(most) => {
                let norm = action.iter().map(|x| x * x).sum::<f32>().sqrt();
                if norm > most {
                    for x in action {
                        *x *= most / norm;
                    }
                }
            }
            Self::Box(most) => action.iter_mut().for_each(|x| *x = x.clamp(-most, most)),
        }
    }

    /// An action of `width` numbers at random: of any direction and mostly as long as can be, or uniform in the box.
    pub fn draw(self, width: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let mut number = || match self {
            Self::Ball(most) => {
                let z: f32 = StandardNormal.sample(rng);
                most * z
            }
            Self::Box(most) => rng.random_range(-most..=most),
        };
        let mut action: Vec<f32> = (0..width).map(|_| number()).collect();
        self.cut(&mut action);
        action
    }
}

/// A task: what stays the same, where it begins, where it should end.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// What stays: walls and doors, in the world's own terms.
    pub layout: Vec<f32>,
    /// Where things are.
    pub state: Vec<f32>,
    /// Where they should be.
    pub goal: Vec<f32>,
}

/// One of the things in a world of several.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Body {
    /// `[x, y]`, in the world's units.
    pub place: [f32; 2],
    /// `[x, y]`, in those units a step.
    pub velocity: [f32; 2],
}

/// A state's distance to a goal.
pub type Way<'a> = Box<dyn Fn(&[f32]) -> f32 + Send + Sync + 'a>;

/// Which layouts, starts and goals are drawn. What is drawn for one never comes up in the other, as far as the world has
/// different layouts at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// For learning.
    Training,
    /// For evaluation.
    HeldOut,
}

/// Pure functions over plain vectors: a world keeps nothing, so that many episodes run at once and each can be repeated.
pub trait World: Send + Sync {
    /// Lengths and limits.
    fn spec(&self) -> &Spec;

    /// A task, drawn from this generator.
    fn reset(&self, split: Split, rng: &mut ChaCha8Rng) -> Episode;

    /// A state of this layout that an episode may begin from, each as likely as the next; `None` where one has to get there first.
    fn anywhere(&self, _layout: &[f32], _rng: &mut ChaCha8Rng) -> Option<Vec<f32>> {
        None
    }

    /// An error once something has gone wrong, in a world that can fail: since then all that it gave is zeros.
    fn intact(&self) -> Result<(), WorldError> {
        Ok(())
    }

    /// Whether an observation shows what is asked for, or that is always the same: then who acts needs to be told no goal.
    fn shows_goal(&self) -> bool {
        false
    }

    /// Steps that one plan on the true dynamics may take beside a model's plans: fewer where a step takes long.
    fn affordable(&self) -> u64 {
        u64::MAX
    }

    /// What an action, within [`Spec::reach`], makes of a state.
    fn step(&self, layout: &[f32], state: &mut [f32], action: &[f32]);

    /// The states that may follow, each as likely as the next, where chance decides between several and [`step`](Self::step) goes on to one
    /// of them by what a state holds and no observation shows; none where what comes is certain. Judges know no layouts: they ask with an empty one.
    fn futures(&self, _layout: &[f32], _state: &[f32], _action: &[f32]) -> Vec<Vec<f32>> {
        Vec::new()
    }

    /// What a state looks like: `out` is `[C, H, W]`, row-major.
    fn render(&self, layout: &[f32], state: &[f32], out: &mut [f32]);

    /// Distance of a state from a goal, in the world's units.
    fn distance(&self, state: &[f32], goal: &[f32]) -> f32;

    /// Distance to a goal along the shortest way there is that harms nobody: a function of the state. Where a world has nothing in the
    /// way that is the plain distance.
    fn way(&self, _layout: &[f32], goal: &[f32]) -> Way<'_> {
        let goal = goal.to_vec();
        Box::new(move |state| self.distance(state, &goal))
    }

    /// Whether a state is as good as the goal.
    fn success(&self, state: &[f32], goal: &[f32]) -> bool;

    /// Whether anything in this world harms who walks into it.
    fn has_hazards(&self) -> bool {
        false
    }

    /// How near a state is to what harms: 1 in it, and falling to 0 a little way off.
    fn hazard(&self, _layout: &[f32], _state: &[f32]) -> f32 {
        0.0
    }

    /// Whether a state can be at all; a goal inside a wall cannot.
    fn possible(&self, layout: &[f32], state: &[f32]) -> bool;

    /// The action of one who knows everything: a step on the shortest way. `None` if there is no way.
    fn oracle(&self, layout: &[f32], state: &[f32], goal: &[f32]) -> Option<Vec<f32>>;

    /// The action of one who sees no walls: straight towards the goal. `None` in a world that does not know where that is.
    fn greedy(&self, state: &[f32], goal: &[f32]) -> Option<Vec<f32>>;

    /// The dynamics about the goal, in a world that is kept from failing rather than brought somewhere; such a world has an
    /// [`oracle`](Self::oracle) for whatever state is taken to be there.
    fn linear(&self) -> Option<Linear> {
        None
    }

    /// Behaviour to learn from: `steps` actions from the episode's state, `[steps, A]`, as a curious agent takes them.
    fn behave(&self, episode: &Episode, steps: usize, rng: &mut ChaCha8Rng) -> Vec<f32>;

    /// The things that a state is made of, the one that actions move first; none in a world that is not one of things.
    fn bodies(&self, _state: &[f32]) -> Vec<Body> {
        Vec::new()
    }

    /// The state that is made of these things; `None` in a world that is not one of things.
    fn of_bodies(&self, _bodies: &[Body]) -> Option<Vec<f32>> {
        None
    }

    /// How much of each pixel each of its things covers, 0 to 1: `[N, H, W]`, row-major; empty in a world that is not one of things.
    fn masks(&self, _state: &[f32]) -> Vec<f32> {
        Vec::new()
    }

    /// What stays of an episode as people are shown it, seen from above; `None` where there is nothing to see.
    fn scene(&self, _layout: &[f32], _side: usize) -> Option<Scene> {
        None
    }

    /// Where a state lies in the [`Scene`], `[x, y]` in shares of its side.
    fn place(&self, _state: &[f32]) -> [f32; 2] {
        [0.5; 2]
    }
}

/// A world seen from above.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// How much of each pixel is solid, `[side, side]`, row-major, 0 to 1.
    pub solid: Vec<f32>,
    /// How much of each pixel harms, likewise; empty in a world in which nothing does.
    pub harmful: Vec<f32>,
    /// So near to the goal is there, in shares of the side.
    pub near: f32,
}
