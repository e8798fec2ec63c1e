//! The networks can be trained: gradients reach every parameter, and those of added codes none.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use foretell_nn::clip_vit::{ClipVitConfig, Code, Dense, Positions};
use foretell_nn::masked_predictor::{Asked, MaskedPredictorConfig, Modality};
use foretell_nn::positions::{Grid, Rope, RopeStyle};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Parameters without a gradient, or with none but zeros.
struct Untouched<'a> {
    path: Vec<String>,
    gradients: &'a Gradients,
    names: Vec<String>,
}

impl ModuleVisitor for Untouched<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(self.gradients).map(foretell_ops::values);
        if gradient.is_none_or(|values| values.iter().all(|x| *x == 0.0)) {
            self.names.push(self.path.join("."));
        }
    }
}

fn untouched<M: Module>(module: &M, gradients: &Gradients) -> Vec<String> {
    let mut visitor = Untouched { path: Vec::new(), gradients, names: Vec::new() };
    module.visit(&mut visitor);
    visitor.names
}

#[test]
fn gradients_reach_every_parameter() {
    let device = Device::flex().autodiff();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let (grid, added) = (Grid { frames: 2, rows: 2, cols: 3 }, Code::Clip { uniform: false });
    let turned = Positions::Turned(Rope { style: RopeStyle::Interleaved, counted: None, spread: Some(16) });
    for (positions, dense) in
        [(Positions::Added(grid, added), None), (turned.clone(), None), (turned, Some(Dense { levels: vec![0, 1] }))]
    {
        let config = ClipVitConfig {
            patch: 4,
            tubelet: 2,
            channels: 3,
            width: 16,
            depth: 2,
            heads: 2,
            hidden: 32,
            eps: 1e-6,
            positions,
            dense,
        };
        let levels = config.dense.as_ref().map_or(1, |dense| dense.levels.len());
        let predictor = MaskedPredictorConfig {
            encoder_width: 16,
            levels,
            width: 16,
            depth: 1,
            heads: 2,
            hidden: 32,
            out: 16 * levels,
            mask_tokens: 1,
            eps: 1e-6,
            positions: config.positions.clone(),
            context_head: levels > 1,
            modalities: levels > 1,
        };
        let (encoder, predictor) = (config.init(&mut rng, &device), predictor.init(&mut rng, &device));
        let noise = |shape: [usize; 5]| {
            let values: Vec<f32> =
                (0..shape.iter().product()).map(|i: usize| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
            Tensor::<5>::from_data(TensorData::new(values, shape), &Device::flex())
        };
        let loss = |clips: Tensor<5>, grid: Grid, modality: Modality| {
            let (context_at, targets_at) = (&[3, 0, 4][..], &[5, 1][..]);
            let context = encoder.levels(clips, Some(context_at));
            let asked = Asked { grid, context_at, targets_at, mask_token: 0, modality };
            if levels > 1 {
                let (targets, of_context) = predictor.forward_dense(context, asked);
                (targets * 1.5).powi_scalar(2).mean() + of_context.powi_scalar(2).mean()
            } else {
                (predictor.forward(context, asked) * 1.5).powi_scalar(2).mean()
            }
        };
        let of_clips = loss(noise([1, 4, 3, 8, 12]), grid, Modality::Video);
        let whole = if levels > 1 {
            of_clips + loss(noise([1, 1, 3, 8, 12]), Grid { frames: 1, ..grid }, Modality::Image)
        } else {
            of_clips
        };
        let gradients = whole.backward();
        let fixed =
            |name: &str| if config.positions == Positions::Added(grid, added) { vec![name.to_owned()] } else { vec![] };
        assert_eq!(untouched(&encoder, &gradients), fixed("pos_embed"), "{config:?}");
        assert_eq!(untouched(&predictor, &gradients), fixed("predictor_pos_embed"), "{config:?}");
    }
}
