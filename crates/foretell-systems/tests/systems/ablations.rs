//! Ablation tables: every row can be trained, and differs from the first in what it says.

use std::collections::BTreeSet;

use burn::tensor::Device;
use foretell_data::Auto;
use foretell_jepa::masked::Predicts;
use foretell_systems::family::{find, members};
use foretell_systems::i_jepa::IJepaConfig;
use foretell_systems::recipe::{entry, parse, set};
use foretell_systems::{Ablation, Member};
use toml::{Table, Value};

use crate::made::{Bench, scenes};

/// The whole recipe of a row, small, on generated data.
fn recipe(row: &Ablation) -> (&'static dyn Member, Table) {
    let member = find(row.system).unwrap_or_else(|error| panic!("{}: {error}", row.name));
    let defaults = member.defaults();
    let small = if defaults["data"].get("image_size").is_some() {
        "data.image_size = 16"
    } else if defaults["data"].get("tones").is_some() {
        "data.tones = { train = 40, held_out = 10 }\nmodel.width = 24"
    } else if defaults["data"].get("networks").is_some() {
        "data.networks = { train = 40, held_out = 10, regions = 16, length = 80 }\ndata.window = 12\nmodel.width = 8"
    } else if defaults["data"].get("demonstrations").is_some() {
        "data.world = { kind = \"two-rooms\", resolution = 16 }\ndata.episode = 40\ndata.demonstrations.episodes = 4"
    } else {
        "data.waves = { train = 64, held_out = 32, steps = 96 }"
    };
    let mut asked = parse(&format!("{small}\ntrain.batch = 8"), row.name).unwrap();
    for setting in &row.settings {
        let (key, value) = entry(setting).unwrap();
        set(&mut asked, key, value).unwrap();
    }
    let recipe = member.recipe(&asked, row.name).unwrap_or_else(|error| panic!("{}: {error}", row.name));
    (member, recipe)
}

#[test]
fn every_row_of_every_table_can_be_built() {
    let mut tables = 0;
    for member in members() {
        let rows = member.ablations(member.defaults()).unwrap();
        let Some(first) = rows.first() else { continue };
        tables += 1;
        assert!(first.system == member.row().name && first.settings.is_empty(), "the first row is the system as it is");
        let names: BTreeSet<&str> = rows.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), rows.len(), "each name once");
        let mut recipes: Vec<Table> = Vec::new();
        for row in &rows {
            assert!(row.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{} is a folder", row.name);
            let (member, recipe) = recipe(row);
            assert!(!recipes.contains(&recipe), "{} is another row under a second name", row.name);
            let session = member.open(recipe.clone(), &Device::flex(), true);
            let session = session.unwrap_or_else(|error| panic!("{}: {error}", row.name));
            let built = session.trial();
            assert!(built.is_ok(), "{}: {}", row.name, built.err().unwrap());
            recipes.push(recipe);
        }
    }
    assert!(tables > 0);
}

#[test]
fn rows_follow_the_size_that_was_asked_for() {
    let own =
        IJepaConfig { width: Auto::Value(24), heads: Auto::Value(2), depth: Auto::Value(1), ..IJepaConfig::default() };
    let rows = foretell_systems::System::ablations(&own);
    let settings = |name: &str| rows.iter().find(|row| row.name == name).unwrap().settings.join(" ");
    assert_eq!(settings("narrow-predictor"), "model.predictor_width=4");
    assert_eq!(settings("wide-predictor"), "model.predictor_width=24");
    assert_eq!(settings("supervised"), "model.size=tiny model.depth=1 model.width=24 model.heads=2");
    assert!(settings("sigreg").contains("model.backbone.depth=1"), "{}", settings("sigreg"));
}

#[test]
fn impossible_ablations_are_refused_in_a_sentence() {
    let (images, config) = scenes(16, 64, 16);
    let bench = Bench::new(Some(images), config, (1000, 8));
    let nothing = IJepaConfig { predicts: Predicts::Pixels, predictor_depth: Auto::Value(0), ..IJepaConfig::default() };
    let said = bench.refusal(&nothing);
    assert!(said.contains("`model.predicts`") && said.contains("`model.predictor_depth`"), "{said}");
}

#[test]
fn the_control_is_told_labels_and_no_others() {
    let control = find("supervised").unwrap();
    assert!(members().all(|member| member.row().name != "supervised"), "it is no member of the family");
    let row = Ablation::new("supervised", "supervised", &["model.classes=[3]"], "");
    let (_, recipe) = recipe(&row);
    let session = control.open(recipe, &Device::flex(), true).unwrap();
    let said = session.trial().err().unwrap().to_string();
    assert!(said.contains("`model.classes` is [3]") && said.contains("leave it out"), "{said}");
    let empty: Value = "x = []".parse::<Table>().unwrap().remove("x").unwrap();
    assert_eq!(control.defaults()["model"].get("classes"), Some(&empty));
}
