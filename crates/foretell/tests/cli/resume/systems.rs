//! The systems that are killed and go on, and how each is trained in a few seconds.

pub(super) const STEPS: usize = 24;

/// One for each kind of network that a run may hold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum System {
    IJepa,
    LeJepa,
    EbJepa,
    LeWm,
    /// H-JEPA: levels that learn one after the other, then an actor.
    HJepa,
    /// LeWorldModel again, from recorded episodes.
    Recorded,
    SarJepa,
    /// S-JEA: two levels, each with its loss.
    SJea,
    /// Graph-JEPA from a file of graphs.
    GraphJepa,
    /// V-JEPA 2.1 from the moving scenes: clips that grow, images among them, levels, a loss that rises.
    VJepa21,
    /// MC-JEPA from the moving scenes: pairs of frames and views of one, a kept flow.
    McJepa,
    /// EB-JEPA's video example from the moving scenes: windows of clips, batch statistics, a kept predictor.
    EbJepaVideo,
    /// IWM: two views, an action, a kept predictor.
    Iwm,
    /// DMT-JEPA: heads, one of which follows the other.
    DmtJepa,
    /// NEPA, with an average of its weights and places that are stretched.
    Nepa,
    /// TS-JEPA from a file of labelled series of unequal lengths with holes.
    TsJepa,
    /// LeNEPA: batch statistics of a projector.
    LeNepa,
    /// LaT-PFN: families from the prior, running averages, a kept forecaster.
    LatPfn,
    /// Signal-JEPA from the generated EEG: balls that hide other numbers of electrodes, a kept decoder.
    SignalJepa,
    /// A-JEPA from the generated sounds: masks by the step of the run, blocks of several sizes.
    AJepa,
    /// ST-JEMA from the generated networks: a teacher with batch statistics of its own, a kept decoder.
    StJema,
    /// C-JEPA on known objects: another set of them hidden in each window.
    CJepa,
    /// C-JEPA on slots that are found in the first steps and frozen from then on.
    FoundSlots,
    /// ACT-JEPA in two stages: latents, then actions on an encoder that stays as it is; a kept policy.
    ActJepa,
    /// I-JEPA from the generated scenes.
    Scenes,
    /// Graph-JEPA from the generated graphs.
    BuiltInGraphs,
}

pub(super) const ALL: [System; 24] = [
    System::IJepa,
    System::LeJepa,
    System::EbJepa,
    System::LeWm,
    System::HJepa,
    System::Recorded,
    System::SarJepa,
    System::SJea,
    System::GraphJepa,
    System::VJepa21,
    System::McJepa,
    System::EbJepaVideo,
    System::Iwm,
    System::DmtJepa,
    System::Nepa,
    System::TsJepa,
    System::LeNepa,
    System::LatPfn,
    System::SignalJepa,
    System::AJepa,
    System::StJema,
    System::CJepa,
    System::FoundSlots,
    System::ActJepa,
];

/// One for each way in which the loop goes: one learner, several in turn, batches without one shape. The loop, checkpoints and the
/// evaluation are written once and know no system, so what is about them is shown of these; what a system keeps is shown of all.
pub(super) const LOOPS: [System; 3] = [System::IJepa, System::EbJepa, System::GraphJepa];

/// Those whose data are generated and labelled, of which each run evaluates a lot.
pub(super) const GENERATED: [System; 2] = [System::Scenes, System::BuiltInGraphs];

impl System {
    pub(super) fn of_images(self) -> bool {
        matches!(
            self,
            System::IJepa
                | System::LeJepa
                | System::SarJepa
                | System::SJea
                | System::Scenes
                | System::Iwm
                | System::DmtJepa
                | System::Nepa
        )
    }

    /// Whether it is a model of a world, or a policy in one.
    pub(super) fn of_a_world(self) -> bool {
        matches!(
            self,
            System::EbJepa
                | System::LeWm
                | System::HJepa
                | System::Recorded
                | System::CJepa
                | System::FoundSlots
                | System::ActJepa
        )
    }

    /// Steps of all, those of an actor that learns when the rest has learnt included.
    pub(super) fn steps(self) -> usize {
        if matches!(self, System::EbJepa | System::LeWm | System::HJepa | System::ActJepa) { 2 * STEPS } else { STEPS }
    }

    pub(super) fn arguments(self) -> Vec<&'static str> {
        let (name, sets): (_, &[_]) = match self {
            System::Scenes => (
                "i-jepa",
                &[
                    "model.width=32",
                    "model.heads=2",
                    "model.depth=1",
                    "model.predictor_width=16",
                    "model.predictor_depth=1",
                    "model.patch=8",
                    "judge.train_samples=200",
                ],
            ),
            System::IJepa => (
                "i-jepa",
                &[
                    "model.width=64",
                    "model.heads=2",
                    "model.depth=2",
                    "model.predictor_width=32",
                    "model.predictor_depth=1",
                    "model.patch=4",
                    "train.keep_checkpoints=4",
                    "train.judge_every=12",
                ],
            ),
            System::Iwm | System::DmtJepa => (
                if self == System::Iwm { "iwm" } else { "dmt-jepa" },
                &[
                    "model.width=32",
                    "model.heads=2",
                    "model.depth=1",
                    "model.predictor_width=16",
                    "model.predictor_depth=1",
                    "model.patch=8",
                ],
            ),
            System::LeJepa => (
                "le-jepa",
                &["model.backbone.widths=[16, 32]", "model.projector=[64]", "model.code_width=16", "model.slices=64"],
            ),
            System::SJea => ("s-jea", &["model.levels=[[16], [32]]", "model.projector=[64]", "model.code_width=16"]),
            System::EbJepa => (
                "eb-jepa",
                &[
                    "data.world.resolution=16",
                    "data.explore.layouts=6",
                    "data.episode=30",
                    "data.window=9",
                    "judge.episodes=0",
                    "model.width=32",
                    "model.widths=[8, 8]",
                ],
            ),
            System::LeWm => (
                "le-wm",
                &[
                    "data.world.resolution=16",
                    "data.explore.layouts=6",
                    "data.episode=30",
                    "data.window=5",
                    "judge.episodes=0",
                    "model.width=16",
                    "model.encoder.widths=[8, 8]",
                    "model.projector=32",
                ],
            ),
            System::HJepa => (
                "h-jepa",
                &[
                    "data.world.resolution=16",
                    "data.episode=60",
                    "judge.episodes=0",
                    "model.learning=in-turn",
                    "model.width=16",
                    "model.encoder.widths=[8, 8]",
                    "model.projector=32",
                ],
            ),
            System::Recorded => ("le-wm", &["data.window=6"]),
            System::SarJepa => (
                "sar-jepa",
                &[
                    "model.patch=8",
                    "model.depth=1",
                    "model.decoder_depth=1",
                    "model.decoder_width=36",
                    "judge.train_samples=200",
                ],
            ),
            System::VJepa21 => (
                "v-jepa-2.1",
                &[
                    "data.frames=4",
                    "data.image_size=24",
                    "data.scenes.train=64",
                    "data.scenes.held_out=32",
                    "model.patch=6",
                    "model.width=24",
                    "model.heads=2",
                    "model.depth=2",
                    "model.predictor_width=16",
                    "model.predictor_heads=2",
                    "model.predictor_depth=1",
                    "model.grow.at=0.5",
                ],
            ),
            System::Nepa => (
                "nepa",
                &[
                    "model.patch=8",
                    "model.width=32",
                    "model.depth=1",
                    "model.heads=2",
                    "model.keep=average",
                    "model.stretch=2.0",
                    "judge.train_samples=200",
                ],
            ),
            System::TsJepa | System::LeNepa => (
                if self == System::TsJepa { "ts-jepa" } else { "le-nepa" },
                &["model.patch=4", "model.width=16", "model.heads=2", "model.depth=1"],
            ),
            System::LatPfn => (
                "lat-pfn",
                &[
                    "model.width=16",
                    "model.heads=2",
                    "model.layers=1",
                    "model.history=16",
                    "model.horizon=8",
                    "model.context=2",
                    "model.held_out=1",
                ],
            ),
            System::AJepa => (
                "a-jepa",
                &[
                    "data.tones.train=64",
                    "data.tones.held_out=32",
                    "model.patch=8",
                    "model.width=24",
                    "model.heads=2",
                    "model.depth=1",
                    "model.predictor_width=16",
                    "model.predictor_depth=1",
                ],
            ),
            System::McJepa => (
                "mc-jepa",
                &[
                    "data.frames=3",
                    "data.image_size=16",
                    "data.scenes.train=64",
                    "data.scenes.held_out=32",
                    "model.widths=[4, 6, 8]",
                    "model.estimator=[8]",
                    "model.projector=[16]",
                    "model.code_width=8",
                    "model.turns=alternate",
                ],
            ),
            System::EbJepaVideo => (
                "eb-jepa-video",
                &[
                    "data.frames=4",
                    "data.image_size=16",
                    "data.scenes.train=64",
                    "data.scenes.held_out=32",
                    "model.widths=[4, 6]",
                    "model.strides=[2, 1]",
                    "model.predictor=[4, 6]",
                    "model.rollout=1",
                    "model.window=3",
                    "model.projector=[8]",
                    "model.code_width=8",
                ],
            ),
            System::SignalJepa => (
                "signal-jepa",
                &[
                    "data.seconds=2.0",
                    "data.heads.train=64",
                    "data.heads.held_out=32",
                    "model.width=32",
                    "model.heads=4",
                    "model.depth=1",
                    "model.predictor_depth=1",
                ],
            ),
            System::StJema => (
                "st-jema",
                &[
                    "data.networks.train=64",
                    "data.networks.held_out=12",
                    "data.networks.regions=16",
                    "data.networks.length=80",
                    "data.window=12",
                    "model.width=8",
                    "model.layers=1",
                ],
            ),
            System::ActJepa => (
                "act-jepa",
                &[
                    "data.world.kind=two-rooms",
                    "data.world.resolution=16",
                    "data.episode=40",
                    "data.demonstrations.episodes=6",
                    "model.stages=two",
                    "model.chunk=3",
                    "model.width=16",
                    "model.heads=2",
                    "model.depth=1",
                    "model.layers=1",
                    "model.encoder.features=16",
                    "judge.episodes=1",
                ],
            ),
            System::CJepa => ("c-jepa", &["model.width=16", "model.heads=2", "model.depth=1", "model.mlp=16"]),
            System::FoundSlots => (
                "c-jepa",
                &[
                    "data.world.discs=3",
                    "data.world.resolution=16",
                    "model.slots.kind=learnt",
                    "model.slots.count=4",
                    "model.slots.width=16",
                    "model.slots.channels=8",
                    "model.slots.decoder=8",
                    "model.width=16",
                    "model.heads=2",
                    "model.depth=1",
                    "model.mlp=16",
                ],
            ),
            System::GraphJepa | System::BuiltInGraphs => (
                "graph-jepa",
                &[
                    "model.width=16",
                    "model.heads=2",
                    "model.layers=1",
                    "model.depth=1",
                    "model.targets=2",
                    "model.parts.count=4",
                    "judge.train_samples=200",
                ],
            ),
        };
        let mut arguments = vec!["train", name, "--steps", "24", "--checkpoint-every", "5", "--seed", "7"];
        if self.of_images() {
            arguments.extend(["--image-size", "32"]);
        }
        for set in ["train.batch=32", "train.log_every=1", "train.health_every=6"].iter().chain(sets) {
            arguments.extend(["--set", set]);
        }
        arguments
    }
}
