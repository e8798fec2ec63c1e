//! I-JEPA (Assran et al., 2023, arXiv 2301.08243): from one context block of an image, predict the teacher's features of
//! several target blocks. No view augmentation but a crop.
//!
//! The composition is [`Masked`](foretell_jepa::masked::Masked); the settings are those of [`ImageModel`], the defaults ours. The released
//! code's are `masks.kind = "official"`, `target_transform = "layer-norm"`, `sigreg = 0` and
//! `ema.schedule = { kind = "ramp", start = 0.996 }`.

use foretell_data::{Auto, Decision, Images, ImagesConfig};
use foretell_eval::Finding;
use foretell_train::Learner;

use crate::ablation::Ablation;
use crate::image_model::{ImageModel, Kind};
use crate::judges;
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 2,
    name: "i-jepa",
    title: "I-JEPA",
    one_line: "image blocks predicted from one context block",
    papers: &["arXiv:2301.08243"],
    state: State::Trains,
};

/// Settings of I-JEPA.
pub type IJepaConfig = ImageModel;

impl System for ImageModel {
    type Data = Images;
    const ROW: &'static Row = &ROW;

    /// Two minutes on two cores, for the scenes that come with the program.
    fn usual_steps(data: &ImagesConfig, _: Option<usize>) -> Option<u64> {
        data.path.is_empty().then_some(400)
    }

    fn init(&mut self, on: &On<'_, Images>, decisions: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        let (objective, networks) = self.made(on, &Kind::default(), decisions)?;
        Ok(on.learner(objective, networks))
    }

    /// The ablations of the paper (tables 5 to 7 and 10 to 13), those that must collapse, and baselines on the same encoder.
    fn ablations(&self) -> Vec<Ablation> {
        // A multiple of 4 and of the heads, as the predictor's width must be.
        let (usual, _, usual_heads, _) = self.size.dimensions();
        let value = |auto: Auto<usize>, usual: usize| if let Auto::Value(value) = auto { value } else { usual };
        let (width, heads) = (value(self.width, usual), value(self.heads, usual_heads).max(1));
        let unit = [1, 2, 4].into_iter().find(|part| (part * heads).is_multiple_of(4)).unwrap_or(4) * heads;
        let narrow = format!("model.predictor_width={}", (width / 4 / unit).max(1) * unit);
        let wide = format!("model.predictor_width={width}");
        let own = |name, settings: &[&str], about| Ablation::new(name, ROW.name, settings, about);
        let bare = ["model.sigreg=0.0", "model.target_transform=layer-norm"];
        let bared = |name, more: &[&str], about| own(name, &[&bare[..], more].concat(), about);
        let set = |key: &str, auto: Auto<usize>| match auto {
            Auto::Value(value) => Some(format!("model.{key}={value}")),
            Auto::Auto => None,
        };
        let size = format!("model.size={}", format!("{:?}", self.size).to_lowercase());
        let of_views = [set("backbone.patch", self.patch), set("backbone.depth", self.depth)];
        let of_labels = [("patch", self.patch), ("depth", self.depth), ("width", self.width), ("heads", self.heads)]
            .map(|(k, v)| set(k, v));
        let of_size = |settings: &[Option<String>]| -> Vec<String> {
            std::iter::once(size.clone()).chain(settings.iter().flatten().cloned()).collect()
        };
        let views = |name, term: &str, more: &[&str], about| {
            let term = format!("model.anti_collapse.kind={term}");
            let settings = [&["model.backbone.kind=vit", term.as_str()][..], more].concat();
            Ablation::new(name, "le-jepa", &settings, about).with(&of_size(&of_views))
        };
        let pair = ["model.local_views=0"];
        vec![
            own("i-jepa", &[], "block masks, four targets, latents, a predictor of half the width, a moving average"),
            own("random-masks", &["model.masks.kind=random"], "scattered tokens instead of blocks"),
            own("one-target", &["model.masks.targets=1"], "one target block"),
            own("two-targets", &["model.masks.targets=2"], "two target blocks"),
            own("three-targets", &["model.masks.targets=3"], "three target blocks"),
            own("pixel-target", &["model.predicts=pixels"], "pixels of the hidden patches instead of features"),
            own("input-masked", &["model.predicts=latents-alone"], "the teacher sees each target block alone"),
            own("narrow-predictor", &[&narrow], "a predictor of a quarter of the width"),
            own("wide-predictor", &[&wide], "a predictor of the encoder's width"),
            own("no-predictor", &["model.predictor_depth=0"], "the mean of the context stands for every target"),
            own("no-average", &["model.target=stop-gradient"], "the encoder itself as teacher, without gradient"),
            own("live-target", &["model.target=live"], "the encoder itself as teacher, with gradient"),
            bared("bare", &[], "as released: no SIGReg, layer norm instead of standardised targets"),
            bared("bare-no-average", &["model.target=stop-gradient"], "the same without a moving average"),
            bared("bare-live-target", &["model.target=live"], "the same with a target that learns: should collapse"),
            bared(
                "bare-no-predictor",
                &["model.predictor_depth=0", "model.target=stop-gradient"],
                "neither predictor nor moving average: should collapse",
            ),
            own(
                "mae",
                &[
                    "model.masks={ kind = \"random\", targets = 1, target_scale = [0.75, 0.75] }",
                    "model.predicts=pixels",
                    "model.target=stop-gradient",
                    "model.keep=context",
                    "model.sigreg=0.0",
                ],
                "a masked autoencoder: pixels of three quarters of the patches",
            ),
            views("vicreg", "vicreg", &pair, "two views, variance, invariance and covariance"),
            views("barlow-twins", "barlow-twins", &pair, "two views, their cross-correlation"),
            views("sigreg", "sigreg", &[], "two global and two local views, SIGReg"),
            views("visreg", "visreg", &[], "two global and two local views; centre, scale and shape apart"),
            views("no-term", "none", &[], "the same views and nothing against collapse: should collapse"),
            Ablation::new("supervised", "supervised", &[], "the labels are given").with(&of_size(&of_labels)),
        ]
    }

    fn judge(&self, run: &Judging<'_, Images>) -> Result<Vec<Finding>, JudgeError> {
        let mut findings = judges::usual(run)?;
        findings.extend(judges::dense(run)?);
        findings.extend(self.masks(run, &Kind::default())?);
        findings.push(judges::lidar(run)?);
        findings.extend(judges::energy(run)?);
        Ok(findings)
    }
}
