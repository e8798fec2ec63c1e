//! Lengths that several systems choose and check alike.

use crate::system::SystemError;

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
