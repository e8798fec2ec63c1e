//! A world that another program plays, such as an environment of one's own in Python: each line of JSON that it reads asks, and the
//! line that it writes answers. docs/worlds.md has every line.
//!
//! The program is named by the environment and not by a run's settings: a run that came from elsewhere starts nothing. Each thread has
//! a program of its own, for a world must answer many episodes at once, and every answer is a function of what was asked. A [`World`]
//! cannot fail; a program can. From the first failure on everything is zeros, and [`World::intact`] says what happened to those who
//! look: whatever draws a batch, judges, or plays an episode.

use std::cell::Cell;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::world::{Episode, Reach, Spec, Split, World, WorldError};

/// A line of a program that is longer is none.
const LONGEST_LINE: u64 = 1 << 28;
/// Numbers of an observation, of a state and of an action at most.
const MOST: [usize; 3] = [1 << 22, 1 << 20, 1 << 10];
/// Steps that a plan on the true dynamics may take.
const AFFORDABLE: u64 = 500;
/// Steps for which play holds an action, at most.
const HELD: usize = 4;
/// Seeds are smaller than this, so that a number of any kind holds them.
const SEEDS: u32 = 1 << 24;
/// How long a program may take to end once nobody asks it anything.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it may take over one answer where nothing else is said; environments that start a simulator take half a minute.
const LONGEST_ANSWER: Duration = Duration::from_mins(5);
const MOST_SECONDS: u64 = 86_400;

/// What a program is asked.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
enum Ask<'a> {
    Spec,
    Reset { split: &'a str, seed: u32 },
    Step { layout: &'a [f32], state: &'a [f32], action: &'a [f32] },
    Render { layout: &'a [f32], state: &'a [f32] },
    Success { state: &'a [f32], goal: &'a [f32] },
    Behave { layout: &'a [f32], state: &'a [f32], goal: &'a [f32], steps: usize, seed: u32 },
    Oracle { layout: &'a [f32], state: &'a [f32], goal: &'a [f32] },
    Greedy { state: &'a [f32], goal: &'a [f32] },
}

impl Ask<'_> {
    /// The name of what is asked.
    fn name(&self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Reset { .. } => "reset",
            Self::Step { .. } => "step",
            Self::Render { .. } => "render",
            Self::Success { .. } => "success",
            Self::Behave { .. } => "behave",
            Self::Oracle { .. } => "oracle",
            Self::Greedy { .. } => "greedy",
        }
    }
}

/// What a world is, as its program says.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Said {
    name: String,
    observation: [usize; 3],
    state: usize,
    /// Numbers at the head of a state that say where things are; the rest is the program's own.
    #[serde(default)]
    place: Option<usize>,
    #[serde(default)]
    layout: usize,
    action: usize,
    #[serde(default = "one")]
    most: f32,
    #[serde(default)]
    ball: bool,
    /// What else may be asked: `behave`, `oracle`, `greedy`.
    #[serde(default)]
    can: Vec<String>,
}

fn one() -> f32 {
    1.0
}

impl Said {
    fn place(&self) -> usize {
        self.place.unwrap_or(self.state)
    }

    /// What is wrong with it, if anything is.
    fn wrong(&self) -> Option<String> {
        let pixels = self.observation.iter().try_fold(1_usize, |all, side| all.checked_mul(*side));
        let [most_pixels, most_state, most_action] = MOST;
        let within = |what: &str, found: Option<usize>, most: usize| {
            let shown = found.map_or_else(|| "too many".to_owned(), |found| found.to_string());
            (!found.is_some_and(|found| (1..=most).contains(&found)))
                .then(|| format!("{what} must be 1 to {most} numbers, found {shown}"))
        };
        if self.name.is_empty() || self.name.chars().count() > 100 || self.name.chars().any(char::is_control) {
            return Some("`name` must be 1 to 100 characters that can be shown".to_owned());
        }
        within("`observation`, [C, H, W],", pixels, most_pixels)
            .or_else(|| within("`state`", Some(self.state), most_state))
            .or_else(|| within("`place`, the head of a state,", Some(self.place()), self.state))
            .or_else(|| within("`action`", Some(self.action), most_action))
            .or_else(|| (self.layout > most_state).then(|| format!("`layout` must be at most {most_state} numbers")))
            .or_else(|| {
                let most = self.most;
                (!(most > 0.0 && most.is_finite())).then(|| format!("`most` must be above 0, found {most}"))
            })
            .or_else(|| {
                let unknown = self.can.iter().find(|can| !["behave", "oracle", "greedy"].contains(&can.as_str()))?;
                Some(format!("`can` names `{unknown}`; known are behave, oracle, greedy"))
            })
    }

    fn spec(&self) -> Spec {
        Spec {
            name: self.name.clone(),
            observation: self.observation,
            state: self.state,
            action: self.action,
            reach: if self.ball { Reach::Ball(self.most) } else { Reach::Box(self.most) },
        }
    }
}

#[derive(Deserialize)]
struct Failed {
    error: String,
}

#[derive(Deserialize)]
struct Stepped {
    state: Vec<f32>,
}

#[derive(Deserialize)]
struct Begun {
    #[serde(default)]
    layout: Vec<f32>,
    state: Vec<f32>,
    goal: Vec<f32>,
}

/// Numbers, or bytes in base64.
#[derive(Deserialize)]
struct Seen {
    #[serde(default)]
    observation: Option<Vec<f32>>,
    #[serde(default)]
    bytes: Option<String>,
}

#[derive(Deserialize)]
struct Judged {
    success: bool,
}

#[derive(Deserialize)]
struct Acts {
    action: Option<Vec<f32>>,
}

#[derive(Deserialize)]
struct Behaved {
    actions: Vec<f32>,
}

/// A program that runs.
struct Running {
    child: Child,
    asked: Option<ChildStdin>,
    /// Its lines; a thread reads them, so that a program that says nothing is not waited for without end.
    answers: Receiver<std::io::Result<String>>,
}

impl Running {
    fn start(command: &[String]) -> Result<Self, String> {
        let mut starts = Command::new(&command[0]);
        starts.args(&command[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        // Whoever stops a training at the keyboard lets it end its step, for which the world must live.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut starts, 0);
        let mut child = starts.spawn().map_err(|error| format!("cannot be started: {error}"))?;
        let asked = child.stdin.take();
        let mut said = BufReader::new(child.stdout.take().ok_or("has no output")?);
        let (tell, answers) = sync_channel(1);
        std::thread::spawn(move || {
            loop {
                let mut line = String::new();
                let read = (&mut said).take(LONGEST_LINE).read_line(&mut line).map(|_| line);
                let last = !matches!(&read, Ok(line) if line.ends_with('\n'));
                if tell.send(read).is_err() || last {
                    return;
                }
            }
        });
        Ok(Self { child, asked, answers })
    }

    /// The answer's line.
    fn ask(&mut self, ask: &Ask<'_>, patience: Duration) -> Result<String, String> {
        let mut line = serde_json::to_string(ask).map_err(|error| error.to_string())?;
        line.push('\n');
        let told = self.asked.as_mut().map(|pipe| pipe.write_all(line.as_bytes()).and_then(|()| pipe.flush()));
        match (told, self.answers.recv_timeout(patience)) {
            (Some(Ok(())), Ok(Ok(answer))) if answer.ends_with('\n') => Ok(answer),
            (_, Ok(Ok(answer))) if answer.len() as u64 >= LONGEST_LINE => {
                Err("answered with a line that does not end".to_owned())
            }
            (_, Ok(Err(error))) => Err(format!("answered with what is no text: {error}")),
            (_, Err(RecvTimeoutError::Timeout)) => {
                let (seconds, longer) = (patience.as_secs(), Program::SECONDS);
                Err(format!(
                    "has not answered `{}` within {seconds} s: if it takes longer, let {longer} name a larger number",
                    ask.name()
                ))
            }
            _ => Err(format!("{} instead of answering", self.ended())),
        }
    }

    /// How it ended: by itself, as there is nothing more to read, or killed where it does not.
    fn ended(&mut self) -> String {
        self.asked = None;
        let short = Duration::from_millis(5);
        for _ in 0..PATIENCE.as_millis() / short.as_millis() {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(short),
                Ok(Some(status)) => return format!("ended ({status})"),
                Err(error) => return format!("ended ({error})"),
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        "closed its output".to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ended();
    }
}

/// The number of the calling thread, from 0 on.
fn thread() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
    }
    NUMBER.with(|number| {
        let mine = number.get().unwrap_or_else(|| THREADS.fetch_add(1, Ordering::Relaxed));
        number.set(Some(mine));
        mine
    })
}

/// A world that another program plays.
pub struct Program {
    command: Vec<String>,
    said: Said,
    spec: Spec,
    running: Vec<Mutex<Option<Running>>>,
    /// How long an answer may take.
    patience: Duration,
    failed: OnceLock<WorldError>,
}

impl Program {
    /// Its name on the command line.
    pub const NAME: &'static str = "program";
    /// The variable of the environment that names the program and its arguments.
    pub const VARIABLE: &'static str = "FORETELL_WORLD";
    /// The variable that says how many seconds an answer may take at most; 300 without it.
    pub const SECONDS: &'static str = "FORETELL_WORLD_SECONDS";

    /// The program that the environment names, which must play the world of this name unless that is empty.
    pub fn of_environment(expected: &str) -> Result<Self, WorldError> {
        let variable = Self::VARIABLE;
        let text = std::env::var(variable).unwrap_or_default();
        let command = shlex::split(&text).unwrap_or_default();
        if command.is_empty() {
            let found = if text.is_empty() { "nothing".to_owned() } else { format!("`{text}`") };
            return Err(WorldError::Setting(format!(
                "the world `{}` is played by a program of yours, which {variable} must name, as in {variable}=\"python3 my_world.py\"; found {found}. docs/worlds.md says what it answers",
                Self::NAME
            )));
        }
        let world = Self::new(command, Self::patience()?)?;
        if !expected.is_empty() && world.spec.name != expected {
            return Err(WorldError::Setting(format!(
                "`data.world.name` is `{expected}`, and the program that {variable} names plays `{}`: name the one that plays `{expected}`",
                world.spec.name
            )));
        }
        Ok(world)
    }

    /// How long an answer may take, as the environment says.
    fn patience() -> Result<Duration, WorldError> {
        let Ok(text) = std::env::var(Self::SECONDS) else { return Ok(LONGEST_ANSWER) };
        let seconds = text.parse().ok().filter(|seconds| (1..=MOST_SECONDS).contains(seconds));
        let range = || {
            WorldError::Setting(format!(
                "{} says how many seconds an answer of the world's program may take, a whole number from 1 to {MOST_SECONDS}, found `{text}`",
                Self::SECONDS
            ))
        };
        seconds.map(Duration::from_secs).ok_or_else(range)
    }

    /// A program and its arguments, started; it may take so long over an answer and no longer.
    pub fn new(command: Vec<String>, patience: Duration) -> Result<Self, WorldError> {
        let mut first = Running::start(&command).map_err(|what| told(&command, &what))?;
        let said = Self::handshake(&mut first, patience).map_err(|what| told(&command, &what))?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let running: Vec<_> = (0..threads).map(|_| Mutex::new(None)).collect();
        *running[thread() % threads].lock().unwrap_or_else(PoisonError::into_inner) = Some(first);
        Ok(Self { command, spec: said.spec(), said, running, patience, failed: OnceLock::new() })
    }

    fn handshake(running: &mut Running, patience: Duration) -> Result<Said, String> {
        let said: Said = answer(&Ask::Spec, &running.ask(&Ask::Spec, patience)?)?;
        said.wrong().map_or(Ok(said), |wrong| Err(format!("answered `spec`, but {wrong}")))
    }

    fn try_ask<T: DeserializeOwned>(&self, ask: &Ask<'_>) -> Result<T, String> {
        let slot = &self.running[thread() % self.running.len()];
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let running = if let Some(running) = slot.as_mut() {
            running
        } else {
            let mut started = Running::start(&self.command)?;
            if Self::handshake(&mut started, self.patience)? != self.said {
                return Err("answered `spec` otherwise than when it was started first".to_owned());
            }
            slot.insert(started)
        };
        answer(ask, &running.ask(ask, self.patience)?)
    }

    /// What is asked, or nothing from the first failure on; `fits` says what is wrong with an answer.
    fn ask<T: DeserializeOwned>(&self, ask: &Ask<'_>, fits: impl FnOnce(&T) -> Option<String>) -> Option<T> {
        if self.failed.get().is_some() {
            return None;
        }
        let fitting = |answered: T| match fits(&answered) {
            Some(wrong) => Err(format!("answered `{}` with {wrong}", ask.name())),
            None => Ok(answered),
        };
        match self.try_ask(ask).and_then(fitting) {
            Ok(answered) => Some(answered),
            Err(what) => {
                let _ = self.failed.set(told(&self.command, &what));
                None
            }
        }
    }

    fn can(&self, what: &str) -> bool {
        self.said.can.iter().any(|can| can == what)
    }
}

/// The error of a program.
fn told(command: &[String], what: &str) -> WorldError {
    let mut shown = command.join(" ");
    if shown.chars().count() > 200 {
        shown = shown.chars().take(200).collect();
        let _ = write!(shown, "…");
    }
    WorldError::Setting(format!("the world's program `{shown}` {what}"))
}

/// A line as the answer to what was asked.
fn answer<T: DeserializeOwned>(ask: &Ask<'_>, line: &str) -> Result<T, String> {
    serde_json::from_str(line).map_err(|error| {
        if let Ok(Failed { error }) = serde_json::from_str(line) {
            return format!("cannot answer `{}`: {error}", ask.name());
        }
        let begins: String = line.trim_end().chars().take(80).collect();
        format!("answered `{}` with `{begins}`, which is not what docs/worlds.md has ({error})", ask.name())
    })
}

/// What is wrong with numbers of which there must be so many, all finite.
fn numbers(what: &str, found: &[f32], expected: usize) -> Option<String> {
    if found.len() != expected {
        return Some(format!("{} numbers of `{what}`, and its `spec` says {expected}", found.len()));
    }
    found.iter().position(|x| !x.is_finite()).map(|at| format!("a number of `{what}` that is not finite, number {at}"))
}

impl World for Program {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn intact(&self) -> Result<(), WorldError> {
        self.failed.get().cloned().map_or(Ok(()), Err)
    }

    fn affordable(&self) -> u64 {
        AFFORDABLE
    }

    fn reset(&self, split: Split, rng: &mut ChaCha8Rng) -> Episode {
        let split = if split == Split::Training { "training" } else { "held-out" };
        let (state, layout) = (self.said.state, self.said.layout);
        let ask = Ask::Reset { split, seed: rng.random_range(0..SEEDS) };
        let begun = self.ask(&ask, |Begun { layout: l, state: s, goal }| {
            numbers("layout", l, layout).or_else(|| numbers("state", s, state)).or_else(|| numbers("goal", goal, state))
        });
        begun.map_or_else(
            || Episode { layout: vec![0.0; layout], state: vec![0.0; state], goal: vec![0.0; state] },
            |Begun { layout, state, goal }| Episode { layout, state, goal },
        )
    }

    fn step(&self, layout: &[f32], state: &mut [f32], action: &[f32]) {
        let mut action = action.to_vec();
        self.spec.within_reach(&mut action);
        let ask = Ask::Step { layout, state, action: &action };
        if let Some(Stepped { state: next }) =
            self.ask(&ask, |Stepped { state }| numbers("state", state, self.said.state))
        {
            state.copy_from_slice(&next);
        }
    }

    fn render(&self, layout: &[f32], state: &[f32], out: &mut [f32]) {
        let seen = self.ask(&Ask::Render { layout, state }, |seen: &Seen| match (&seen.observation, &seen.bytes) {
            (Some(numbers_seen), None) => numbers("observation", numbers_seen, self.spec.pixels()),
            (None, Some(text)) => match STANDARD.decode(text) {
                Ok(bytes) if bytes.len() == self.spec.pixels() => None,
                Ok(bytes) => Some(format!("{} `bytes`, and its `spec` says {}", bytes.len(), self.spec.pixels())),
                Err(error) => Some(format!("`bytes` that are no base64: {error}")),
            },
            _ => Some("neither or both of `observation` and `bytes`; one of them it is".to_owned()),
        });
        match seen {
            Some(Seen { observation: Some(observation), .. }) => out.copy_from_slice(&observation),
            Some(Seen { bytes: Some(text), .. }) => {
                let bytes = STANDARD.decode(text).unwrap_or_default();
                out.iter_mut().zip(bytes).for_each(|(out, byte)| *out = f32::from(byte) / 255.0);
            }
            _ => out.fill(0.0),
        }
    }

    /// Between the places: the heads of both.
    fn distance(&self, state: &[f32], goal: &[f32]) -> f32 {
        let squares = state.iter().zip(goal).take(self.said.place()).map(|(a, b)| (a - b).powi(2));
        squares.sum::<f32>().sqrt()
    }

    fn success(&self, state: &[f32], goal: &[f32]) -> bool {
        self.ask(&Ask::Success { state, goal }, |_: &Judged| None).is_some_and(|Judged { success }| success)
    }

    fn possible(&self, _: &[f32], _: &[f32]) -> bool {
        true
    }

    fn oracle(&self, layout: &[f32], state: &[f32], goal: &[f32]) -> Option<Vec<f32>> {
        let ask = Ask::Oracle { layout, state, goal };
        let fits = |Acts { action }: &Acts| action.as_ref().and_then(|a| numbers("action", a, self.said.action));
        self.can("oracle").then(|| self.ask(&ask, fits))??.action
    }

    fn greedy(&self, state: &[f32], goal: &[f32]) -> Option<Vec<f32>> {
        let ask = Ask::Greedy { state, goal };
        let fits = |Acts { action }: &Acts| action.as_ref().and_then(|a| numbers("action", a, self.said.action));
        self.can("greedy").then(|| self.ask(&ask, fits))??.action
    }

    /// As the program behaves, or actions at random, each held for a few steps.
    fn behave(&self, episode: &Episode, steps: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let width = self.said.action;
        if self.can("behave") {
            let Episode { layout, state, goal } = episode;
            let ask = Ask::Behave { layout, state, goal, steps, seed: rng.random_range(0..SEEDS) };
            let behaved = self.ask(&ask, |Behaved { actions }| numbers("actions", actions, steps * width));
            return behaved.map_or_else(|| vec![0.0; steps * width], |Behaved { actions }| actions);
        }
        let mut actions = Vec::with_capacity(steps * width);
        while actions.len() < steps * width {
            let action = self.spec.reach.draw(width, rng);
            (0..rng.random_range(1..=HELD)).for_each(|_| actions.extend(&action));
        }
        actions.truncate(steps * width);
        actions
    }
}
