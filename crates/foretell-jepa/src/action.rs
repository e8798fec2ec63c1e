//! What leads from one view of an image to another, in numbers (IWM, Garrido et al., 2024, arXiv 2403.00504, section 3.1).

use foretell_data::{Augment, Colours};

/// Numbers of an action.
pub const NUMBERS: usize = 7;

/// What they are.
pub const NAMES: [&str; NUMBERS] = ["brightness", "contrast", "saturation", "hue", "grey", "blur", "solarise"];

/// The target's factors of brightness, contrast and saturation and its turn of hue less the source's, each in widths of what
/// `augment` draws from (−2 to 2; 0 where it draws none), and for each of what cannot be undone 1 where it happened to the source.
///
/// Where a view lies is not among them: mask tokens know their places, and source and target share a crop.
pub fn between(source: &Colours, target: &Colours, augment: &Augment) -> [f32; NUMBERS] {
    let apart = |to: f32, from: f32, width: f32| if width > 0.0 { (to - from) / width } else { 0.0 };
    let flag = |happened: bool| f32::from(u8::from(happened));
    [
        apart(target.brightness, source.brightness, augment.brightness),
        apart(target.contrast, source.contrast, augment.contrast),
        apart(target.saturation, source.saturation, augment.saturation),
        apart(target.hue(), source.hue(), augment.hue),
        flag(source.grey),
        flag(source.blur > 0.0),
        flag(source.solarise),
    ]
}

#[cfg(test)]
mod tests {
    use foretell_data::random::{Stream, rng};

    use super::*;

    #[test]
    fn an_action_is_the_difference_and_what_happened_to_the_source() {
        let augment = Augment { brightness: 0.4, contrast: 0.5, saturation: 0.0, hue: 0.1, ..Augment::default() };
        let [mut source, mut target] = [(); 2].map(|()| Colours::default());
        (source.brightness, source.contrast, source.saturation, source.grey) = (0.8, 1.25, 1.5, true);
        target.brightness = 1.2;
        let action = between(&source, &target, &augment);
        let expected = [1.0, -0.5, 0.0, 0.0, 1.0, 0.0, 0.0];
        assert!(action.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{action:?}");
        let back = between(&target, &source, &augment);
        assert!((0..4).all(|i| back[i] == -action[i]), "the way back is the opposite, as far as it can be undone");
    }

    #[test]
    fn drawn_actions_stay_within_two_widths_and_use_them() {
        let augment =
            Augment { jitter: 1.0, brightness: 0.4, contrast: 0.4, saturation: 0.2, hue: 0.1, ..Augment::default() };
        let mut most = [0.0_f32; 4];
        for index in 0..500 {
            let mut rng = rng(1, Stream::Augment, 0, index);
            let [source, target] = [(); 2].map(|()| augment.colours(&mut rng));
            let action = between(&source, &target, &augment);
            most.iter_mut().zip(action).for_each(|(most, a)| *most = most.max(a.abs()));
        }
        assert!(most.iter().all(|most| (1.5..=2.0001).contains(most)), "{most:?}");
    }
}
