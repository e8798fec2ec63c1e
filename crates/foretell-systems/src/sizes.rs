//! Settings that several systems choose and check alike.

use foretell_data::{Auto, Decision, Modality};
use foretell_jepa::AntiCollapse;
use foretell_jepa::target::EmaConfig;
use foretell_nn::vit::Size;

use crate::system::{On, SystemError};

/// The value of a setting that is resolved.
pub(crate) fn resolved(value: Auto<usize>) -> usize {
    if let Auto::Value(value) = value { value } else { 0 }
}

/// The dials of a transformer over patches that may be open.
pub(crate) struct Dials<'a> {
    pub(crate) patch: &'a mut Auto<usize>,
    pub(crate) width: &'a mut Auto<usize>,
    pub(crate) depth: &'a mut Auto<usize>,
    pub(crate) heads: &'a mut Auto<usize>,
}

/// A transformer's lengths, all chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lengths {
    pub(crate) patch: usize,
    pub(crate) width: usize,
    pub(crate) depth: usize,
    pub(crate) heads: usize,
    /// Of the MLPs: those of the size, and four times a width of one's own.
    pub(crate) hidden: usize,
}

impl Dials<'_> {
    /// Chooses what is open by the size, on a CPU with six blocks at most, and says why.
    pub(crate) fn settle<D: Modality>(
        self,
        size: Size,
        patch: impl FnOnce() -> (usize, String),
        on: &On<'_, D>,
        decisions: &mut Vec<Decision>,
    ) -> Lengths {
        let (usual, blocks, heads, hidden) = size.dimensions();
        let of_size = |value: usize| (value, format!("size = {size:?}").to_lowercase());
        let patch = self.patch.resolve("model.patch", decisions, patch);
        let width = self.width.resolve("model.width", decisions, || of_size(usual));
        let depth = self.depth.resolve("model.depth", decisions, || {
            if on.on_cpu() {
                (blocks.min(6), format!("on a CPU: twice the {} in the same time", D::UNIT.many))
            } else {
                of_size(blocks)
            }
        });
        let heads = self.heads.resolve("model.heads", decisions, || of_size(heads));
        Lengths { patch, width, depth, heads, hidden: if width == usual { hidden } else { 4 * width } }
    }
}

/// Chooses the clock of a moving average. An error if too much of the random initial teacher would be left in it at the end.
pub(crate) fn settle_average<D: Modality>(
    ema: &mut EmaConfig,
    on: &On<'_, D>,
    decisions: &mut Vec<Decision>,
) -> Result<(), SystemError> {
    ema.resolve(on.steps, on.batch, decisions);
    let left = ema.initial_teacher_left(on.steps, on.steps, on.batch);
    if left <= ema.initial_teacher_limit {
        return Ok(());
    }
    Err(SystemError::Setting(format!(
        "{:.1} % of the random initial teacher would be left after {} steps, over the limit of {:.1} %: the kept encoder would be partly noise. Train for longer, shorten the average with `model.ema.schedule.samples`, or raise `model.ema.initial_teacher_limit`",
        100.0 * left,
        on.steps,
        100.0 * ema.initial_teacher_limit
    )))
}

/// An error if the weights of a term against collapse, `model.anti_collapse`, cannot be, or the batch has nothing to vary over.
pub(crate) fn check_term(term: AntiCollapse, batch: usize) -> Result<(), SystemError> {
    term.check("model.anti_collapse").map_err(SystemError::Setting)?;
    if batch < 2 && term != AntiCollapse::None {
        return Err(SystemError::Setting(format!(
            "`train.batch` must be 2 or more for this `model.anti_collapse`, which keeps codes apart by how they vary over a batch, found {batch}"
        )));
    }
    Ok(())
}

/// Chooses λ of a term against collapse where it has one, and refuses one that it cannot have. 0 where it has none.
pub(crate) fn settle_lambda(
    term: AntiCollapse,
    lambda: &mut Auto<f64>,
    decisions: &mut Vec<Decision>,
) -> Result<f64, SystemError> {
    let Some(usual) = term.usual_lambda() else {
        return match lambda {
            Auto::Auto => Ok(0.0),
            Auto::Value(found) => Err(SystemError::Setting(format!(
                "`model.lambda` is {found}, but this `model.anti_collapse` has no λ: leave it out, or set the weights in `model.anti_collapse`"
            ))),
        };
    };
    let lambda = lambda.resolve("model.lambda", decisions, || (usual, "the published weight of this term".to_owned()));
    let (most, range) = if term.is_share() { (1.0, "lie between 0 and 1") } else { (f64::MAX, "be 0 or more") };
    if (0.0..=most).contains(&lambda) {
        return Ok(lambda);
    }
    Err(SystemError::Setting(format!("`model.lambda` must {range}, found {lambda}")))
}

/// The largest usual patch that divides the image and leaves seven tokens a side.
pub(crate) fn usual_patch(image_size: usize) -> (usize, String) {
    let patch =
        [16, 14, 8, 7, 4, 2].into_iter().find(|p| image_size.is_multiple_of(*p) && image_size / p >= 7).unwrap_or(1);
    let side = image_size / patch;
    (
        patch,
        format!(
            "the largest usual patch that divides {image_size} pixels and leaves at least 7 tokens a side: {side} × {side} tokens"
        ),
    )
}

/// An error if the patch does not divide the image.
pub(crate) fn check_patch(image_size: usize, patch: usize) -> Result<(), SystemError> {
    if patch > 0 && image_size.is_multiple_of(patch) && image_size / patch >= 2 {
        return Ok(());
    }
    let down = image_size / patch.max(1) * patch;
    let other =
        if patch > 0 && down >= 2 * patch { format!("set `data.image_size` to {down}, or ") } else { String::new() };
    Err(SystemError::Setting(format!(
        "images of {image_size} × {image_size} pixels do not split into patches of {patch} × {patch}, at least two a side: {other}choose another `model.patch`"
    )))
}

/// An error if the heads or the position code do not divide the width.
pub(crate) fn check_width(what: &str, width: usize, heads: usize) -> Result<(), SystemError> {
    if width > 0 && heads > 0 && width.is_multiple_of(heads) && width.is_multiple_of(4) {
        return Ok(());
    }
    Err(SystemError::Setting(format!(
        "the {what}'s width {width} must be a multiple of its {heads} heads and of 4 (the two-dimensional position code): choose another"
    )))
}
