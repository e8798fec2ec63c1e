//! Whether a model's energy tells what happened from what did not.

use foretell_data::Window;
use foretell_eval::{Better, Figures, Finding};
use foretell_world::{Energies, Imagination};

use crate::judges::energy::told;

/// Areas under the ROC curve over held-out windows, beside those of the untrained model and of the difference of pixels.
pub(super) fn energy(trained: &Imagination, untrained: &Imagination, windows: &[Window]) -> Option<Finding> {
    let mut figures = Figures::new(&["what did not happen", "by"], "auroc", "", Better::Higher);
    for (by, imagination) in [("trained", trained), ("untrained", untrained)] {
        let energies = Energies::of(imagination, windows);
        for (what, own, others) in [
            (STATE, &energies.own, &energies.of_another),
            (FREE, &energies.free, &energies.free_of_another),
            (ACTION, &energies.own, &energies.done_in_another),
        ] {
            figures.push([what.into(), by.into()], told(own, others)?);
        }
    }
    let history = trained.model.history();
    let pixels: usize = trained.observation.iter().product();
    let seen = |window: &Window, t: usize| window.observations[t * pixels..][..pixels].to_vec();
    let apart = |(a, b): (&Window, &Window)| -> f32 {
        seen(a, history - 1).iter().zip(&seen(b, history)).map(|(a, b)| (a - b).powi(2)).sum()
    };
    let own: Vec<f32> = windows.iter().zip(windows).map(apart).collect();
    let others: Vec<f32> = windows.iter().zip(windows.iter().cycle().skip(1)).map(apart).collect();
    figures.push([STATE.into(), "pixels".into()], told(&own, &others)?);
    let lead = format!(
        "The energy E(x, a, y) is the {} of what the model foretells of x and action a, and y; the free energy F(x, y) is the least of it \
         over sixteen actions. Area under the ROC curve between what happened and what did not, over {} held-out windows; `pixels` looks at \
         how much changes; 0.5 is chance. Windows of other layouts are easy to tell; the action is what a model must know.",
        trained.model.energy_name().to_lowercase(),
        windows.len()
    );
    Some(Finding::figures("energy", "What the energy tells apart", &lead, figures))
}

const STATE: &str = "another next state";
const FREE: &str = "another next state, the action unknown";
const ACTION: &str = "another action";
