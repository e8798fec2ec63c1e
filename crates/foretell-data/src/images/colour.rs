//! Hue, saturation and value.

/// RGB in 0..=1 of a hue in turns, a saturation and a value.
pub(crate) fn from_hsv(hue: f32, saturation: f32, value: f32) -> [f32; 3] {
    let sixths = (hue - hue.floor()) * 6.0;
    [5.0, 3.0, 1.0].map(|n| hue_ramp(value, value * saturation, n + sixths))
}

/// One channel at `k` sixths of a turn (modulo 6, in -6..18): `V - C clamp(min(k, 4 - k), 0, 1)`.
#[inline]
pub(crate) fn hue_ramp(value: f32, chroma: f32, k: f32) -> f32 {
    let k = if k < 0.0 { k + 6.0 } else { k };
    let k = if k >= 6.0 { k - 6.0 } else { k };
    let k = if k >= 6.0 { k - 6.0 } else { k };
    value - chroma * k.min(4.0 - k).clamp(0.0, 1.0)
}

/// The same colour with its hue turned by `sixths` (-3..=3) of a sixth of a turn each; value and chroma stay, in
/// whatever scale they are. This is HSV as in torchvision, not a rotation in YIQ, which would leave the gamut.
#[inline]
pub(crate) fn turn_hue([r, g, b]: [f32; 3], sixths: f32) -> [f32; 3] {
    let value = r.max(g).max(b);
    let chroma = value - r.min(g).min(b);
    // A grey pixel has no hue; any will do, since its chroma is 0.
    let scale = 1.0 / if chroma > 0.0 { chroma } else { 1.0 };
    let hue = if value == r {
        (g - b) * scale
    } else if value == g {
        (b - r) * scale + 2.0
    } else {
        (r - g) * scale + 4.0
    };
    let hue = hue + sixths;
    [5.0, 3.0, 1.0].map(|n| hue_ramp(value, chroma, n + hue))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: [f32; 3], b: [f32; 3]) -> bool {
        a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5)
    }

    #[test]
    fn primary_hues_are_where_they_belong() {
        assert!(close(from_hsv(0.0, 1.0, 1.0), [1.0, 0.0, 0.0]));
        assert!(close(from_hsv(1.0 / 3.0, 1.0, 1.0), [0.0, 1.0, 0.0]));
        assert!(close(from_hsv(-1.0 / 3.0, 1.0, 0.5), [0.0, 0.0, 0.5]));
        assert!(close(from_hsv(0.7, 0.0, 0.25), [0.25; 3]));
    }

    #[test]
    fn turning_by_a_third_moves_the_channels_round_and_a_whole_turn_changes_nothing() {
        let colour = [0.8, 0.3, 0.1];
        assert!(close(turn_hue(colour, 2.0), [0.1, 0.8, 0.3]));
        assert!(close(turn_hue(colour, -2.0), [0.3, 0.1, 0.8]));
        assert!(close(turn_hue(turn_hue(colour, 3.0), 3.0), colour));
        assert!(close(turn_hue([0.4; 3], 1.3), [0.4; 3]));
    }
}
