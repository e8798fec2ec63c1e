//! Recipes: whole ones survive their own text, what is asked goes on top of the defaults, and what cannot be is refused in one
//! sentence that names the key.

use foretell_systems::family::{find, members};
use foretell_systems::le_jepa::LeJepaConfig;
use foretell_systems::recipe::{entry, get, parse, set};
use foretell_systems::{Member, RecipeError};
use toml::{Table, Value};

/// The whole recipe of a member with what these lines ask on top.
fn asked(member: &dyn Member, text: &str) -> Result<Table, RecipeError> {
    member.recipe(&parse(text, "asked").unwrap(), "asked")
}

#[track_caller]
fn whole(name: &str, text: &str) -> Table {
    asked(find(name).unwrap(), text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[track_caller]
fn refused(name: &str, text: &str) -> String {
    let error = asked(find(name).unwrap(), text).expect_err("refused").to_string();
    assert_eq!(error.lines().count(), 1, "one sentence: {error}");
    error
}

fn text<'a>(table: &'a Table, key: &str) -> &'a str {
    get(table, key).and_then(Value::as_str).unwrap_or_else(|| panic!("no `{key}`"))
}

/// Every setting that is no group, by its key.
fn settings(table: &Table) -> Vec<(String, Value)> {
    let of = |(key, value): (&String, &Value)| match value {
        Value::Table(group) => settings(group).into_iter().map(|(rest, v)| (format!("{key}.{rest}"), v)).collect(),
        value => vec![(key.clone(), value.clone())],
    };
    table.iter().flat_map(of).collect()
}

#[test]
fn every_default_recipe_survives_its_own_text() {
    for member in members() {
        let name = member.row().name;
        let defaults = member.defaults();
        assert_eq!((text(&defaults, "system"), defaults.len()), (name, 8), "one layout for all");
        assert_eq!(member.recipe(&Table::new(), "nothing").unwrap(), defaults, "{name}: nothing asked");
        let written = toml::to_string(&defaults).unwrap();
        let read = parse(&written, "its own text").unwrap();
        assert_eq!(read, defaults, "{name}");
        assert_eq!(member.recipe(&read, "its own text").unwrap(), defaults, "{name}");
        // Each setting by itself too, as `key=value`.
        for (key, value) in settings(&defaults).into_iter().filter(|(key, _)| key != "system") {
            assert_eq!(entry(&format!("{key}={value}")).unwrap(), (key.as_str(), value.clone()), "{name}");
            let mut one = Table::new();
            set(&mut one, &key, value).unwrap();
            if key != "data.path" {
                assert_eq!(member.recipe(&one, "one setting").unwrap(), defaults, "{name}: {key}");
            }
        }
    }
}

/// The file has the settings of the library's constructor.
#[test]
fn the_recipe_of_eb_jepas_image_half_is_the_constructors() {
    let read = whole("le-jepa", include_str!("../../../../recipes/eb-jepa-image-official.toml"));
    let model = Table::try_from(LeJepaConfig::eb_jepa()).unwrap();
    assert_eq!(read["model"], Value::Table(model));
    let vicreg = r#"model = { anti_collapse = { kind = "vicreg", convention = "eb-jepa", invariance = 1.0, variance = 1.0, covariance = 80.0 } }"#;
    let model = Table::try_from(LeJepaConfig::eb_jepa_vicreg()).unwrap();
    assert_eq!(whole("le-jepa", vicreg)["model"]["anti_collapse"], model["anti_collapse"]);
}

/// A number that TOML holds and single precision does not, and one that TOML calls infinite.
#[test]
fn what_is_no_finite_number_is_refused() {
    for (name, asked, key) in [
        ("act-jepa", "model.latents = 1e40", "model.latents"),
        ("i-jepa", "train.lr = inf", "train.lr"),
        ("i-jepa", "model.sigreg = nan", "model.sigreg"),
    ] {
        let said = refused(name, asked);
        assert!(said.contains(&format!("`{key}` must be a finite number")), "{name}: {said}");
    }
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    for member in members() {
        let name = member.row().name;
        for (asked, near) in [
            ("train.lrr = 0.1", "did you mean `train.lr`?"),
            ("sede = 3", "did you mean `seed`?"),
            ("[modle]\nwidth = 3", "did you mean `model`?"),
            ("judge.train_sample = 3", "did you mean `judge.train_samples`?"),
        ] {
            let said = refused(name, asked);
            assert!(
                said.contains("unknown setting") && said.contains(near) && said.contains("asked"),
                "{name}: {said}"
            );
        }
    }
    for (name, asked, near) in [
        ("i-jepa", "model.augment.flop = 1", "`model.augment.flip`"),
        ("i-jepa", "model.ema.schedule.sample = 1", "`model.ema.schedule.samples`"),
        ("le-jepa", "model.backbone.stem_strid = 1", "`model.backbone.stem_stride`"),
        ("le-wm", "model.encoder.featurs = 1", "`model.encoder.features`"),
        ("eb-jepa", "data.explore.layout = 1", "`data.explore.layouts`"),
        ("graph-jepa", "model.parts.cuont = 1", "`model.parts.count`"),
        ("sar-jepa", "model.decoder_dept = 1", "`model.decoder_depth`"),
    ] {
        let said = refused(name, asked);
        assert!(said.contains(&format!("did you mean {near}?")), "{name}: {said}");
    }
    // A name that is no member's names the nearest one; one that does not train yet is told so.
    let said = find("i-jpea").err().expect("no such system");
    assert!(said.contains("did you mean `i-jepa`?"), "{said}");
    let said = find("point-jepa").err().expect("it does not train yet");
    assert!(said.contains("does not train yet"), "{said}");
}

#[test]
fn a_wrong_type_is_one_sentence_that_names_the_setting() {
    for member in members() {
        let name = member.row().name;
        let mut tried = 0;
        for (key, _) in settings(&member.defaults()) {
            // A type that no setting has, in whichever form it may be given.
            let wrong = Value::Array(vec![Value::Table(Table::new())]);
            let mut table = Table::new();
            set(&mut table, &key, wrong).unwrap();
            let error = member.recipe(&table, "asked").err().unwrap_or_else(|| panic!("{name}: {key} is taken"));
            let (said, last) = (error.to_string(), key.rsplit('.').next().unwrap());
            assert_eq!(said.lines().count(), 1, "{name}: {key}: {said}");
            assert!(said.starts_with("asked: ") || said.contains("in asked"), "{name}: {key}: {said}");
            assert!(said.contains(last) || last == "kind", "{name}: {key}: {said}");
            tried += 1;
        }
        assert!(tried > 30, "{name} has {tried} settings");
        for (asked, word) in [
            ("train.lr = -1", "`train.lr` must be a positive number"),
            ("train.batch = 1", "`train.batch` must be at least 2"),
            ("minutes = -3", "`minutes` must be a positive number"),
            ("epochs = inf", "`epochs` must be a finite number"),
        ] {
            let said = refused(name, asked);
            assert!(said.contains(word), "{name}: {said}");
        }
    }
    let said = parse("a = 1\nb = = 2", "mine.toml").err().unwrap().to_string();
    assert!(said.starts_with("mine.toml is not TOML: line 2") && said.lines().count() == 1, "{said}");
    let said = set(&mut parse("a = 1", "x").unwrap(), "a.b", Value::Integer(1)).err().unwrap().to_string();
    assert!(said.contains("not a group of settings"), "{said}");
    assert!(entry("train.lr").err().unwrap().to_string().contains("key=value"));
    assert_eq!(entry("data.path=a b").unwrap(), ("data.path", Value::String("a b".to_owned())));
}

#[test]
fn another_kind_replaces_a_group_and_the_same_kind_is_merged() {
    let keys = |table: &Table, key: &str| {
        let group = get(table, key).unwrap().as_table().unwrap();
        let mut keys: Vec<String> = group.keys().cloned().collect();
        keys.sort_unstable();
        keys
    };

    let usual = whole("le-jepa", "");
    assert_eq!(keys(&usual, "model.backbone"), ["blocks", "kind", "stem_kernel", "stem_stride", "widths"]);
    let other = whole("le-jepa", "model.backbone = { kind = \"vit\", depth = 3 }");
    assert_eq!(keys(&other, "model.backbone"), ["depth", "kind", "patch"]);
    for same in ["model.backbone.blocks = 7", "model.backbone = { kind = \"resnet\", blocks = 7 }"] {
        let merged = whole("le-jepa", same);
        let mut expected = usual.clone();
        set(&mut expected, "model.backbone.blocks", Value::Integer(7)).unwrap();
        assert_eq!(merged, expected, "{same}");
    }
    // A setting of the kind that was replaced is none of the other's.
    let said = refused("le-jepa", "model.backbone = { kind = \"vit\", blocks = 3 }");
    assert!(said.contains("`model.backbone.blocks`"), "{said}");
    let said = refused("le-jepa", "model.backbone.kind = \"forest\"");
    assert!(said.contains("forest") && said.contains("resnet"), "{said}");

    let ramp = whole("i-jepa", "model.ema.schedule = { kind = \"ramp\", start = 0.9 }");
    assert_eq!(keys(&ramp, "model.ema.schedule"), ["kind", "start"]);
    assert_eq!(
        get(&ramp, "model.ema.initial_teacher_limit"),
        get(&whole("i-jepa", ""), "model.ema.initial_teacher_limit")
    );
}

/// A path of a system that learns from a world is one of recorded episodes.
#[test]
fn a_path_of_a_world_system_means_recorded_episodes() {
    let weight = |table: &Table, term: &str| get(table, &format!("model.terms.{term}")).unwrap().as_float().unwrap();
    let played = whole("eb-jepa", "");
    assert_eq!(text(&played, "data.kind"), "play");
    assert!(weight(&played, "reach") > 0.0 && weight(&played, "reach_ahead") > 0.0);
    for name in ["eb-jepa", "le-wm"] {
        let recorded = whole(name, "data.path = \"some/episodes.npz\"");
        assert_eq!((text(&recorded, "data.kind"), text(&recorded, "data.path")), ("episodes", "some/episodes.npz"));
        // Said or unsaid, the kind is the same.
        assert_eq!(recorded, whole(name, "data = { kind = \"episodes\", path = \"some/episodes.npz\" }"), "{name}");
        assert_eq!(get(&whole(name, "data.path = \"x\"\ndata.every = 3"), "data.every"), Some(&Value::Integer(3)));
    }
    // What is told from exploring is off where nothing can be explored, unless it is asked for: then opening says so.
    let recorded = whole("eb-jepa", "data.path = \"some/episodes.npz\"");
    assert_eq!(["reach", "reach_ahead", "actor"].map(|term| weight(&recorded, term)), [0.0; 3]);
    for term in ["variance", "covariance", "time_similarity", "inverse_dynamics"] {
        assert_eq!(weight(&recorded, term), weight(&played, term), "{term}");
    }
    let wanted = whole("eb-jepa", "data.path = \"some/episodes.npz\"\nmodel.terms.reach = 1.0");
    let opened = find("eb-jepa").unwrap().open(wanted, &burn::tensor::Device::flex(), false);
    let said = opened.err().expect("recorded episodes cannot be explored").to_string();
    assert!(said.contains("`model.terms.reach`") && said.lines().count() == 1, "{said}");
    // Of other systems a path is a path.
    for name in ["i-jepa", "le-jepa", "sar-jepa", "graph-jepa"] {
        assert_eq!(text(&whole(name, "data.path = \"some/folder\""), "data.path"), "some/folder");
    }
}

/// C-JEPA asks the world for its objects or for pictures of them, as its slots need.
#[test]
fn known_objects_need_a_world_that_names_them() {
    let member = find("c-jepa").unwrap();
    let opened = |text: &str| {
        let mut session = member.open(whole("c-jepa", text), &burn::tensor::Device::flex(), true)?;
        session.learner(10).map(|_| session.recipe())
    };
    let view = |text: &str| {
        let recipe = opened(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        get(&recipe, "data.world.view").and_then(Value::as_str).unwrap().to_owned()
    };
    assert_eq!(view("data.world.discs = 3"), "objects");
    assert_eq!(view("data.world.resolution = 16\nmodel.slots.kind = \"learnt\""), "picture");
    let learnt = "data.world.resolution = 16\nmodel.slots = { kind = \"learnt\"";
    for (text, words) in [
        ("data.world.kind = \"two-rooms\"", &["`model.slots.kind`", "`data.world.kind`", "discs"][..]),
        ("data.world.view = \"picture\"", &["`data.world.view`", "known objects"]),
        ("data.world.view = \"objects\"\nmodel.slots.kind = \"learnt\"", &["`data.world.view`", "pictures"]),
        ("data.world.discs = 3\nmodel.hidden = 3", &["`model.hidden` is 3", "3 objects", "2 or less"]),
        ("model.history = 1", &["`model.history` must be at least 2, found 1"]),
        ("model.history = 7", &["`data.window` is 7", "8 or more"]),
        ("model.width = 30", &["`model.width`", "`model.heads`", "30 and 4"]),
        ("model.mlp = 0", &["`model.mlp`", "at least 1"]),
        (&format!("{learnt}, finding = 1.0 }}"), &["`model.slots.finding`", "found 1"]),
        (&format!("{learnt}, rounds = 0 }}"), &["`model.slots`", "at least 1"]),
        (&format!("{learnt}, count = 2 }}"), &["`model.hidden` is 2", "2 objects"]),
    ] {
        let said = opened(text).err().unwrap_or_else(|| panic!("{text} is taken")).to_string();
        assert!(words.iter().all(|word| said.contains(word)) && said.lines().count() == 1, "{text}: {said}");
    }
    // An odd picture cannot be halved.
    let said = opened("data.world.resolution = 17\nmodel.slots.kind = \"learnt\"").err().unwrap().to_string();
    assert!(said.contains("17 × 17"), "{said}");
}
