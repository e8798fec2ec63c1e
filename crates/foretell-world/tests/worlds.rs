//! What every world must keep, and the published Two Rooms.

use std::collections::HashSet;
use std::sync::Arc;

use foretell_data::Auto;
use foretell_data::random::{Stream, rng};
use foretell_world::{Body, DiscView, Play, PlayConfig, RoomsLook, Split, World, WorldConfig};

fn worlds() -> Vec<Arc<dyn World>> {
    let mut configs = vec![WorldConfig::named("two-rooms").unwrap(), WorldConfig::named("two-rooms-fixed").unwrap()];
    configs.extend([2, 3, 4].map(|rooms| WorldConfig::Maze { resolution: 32, rooms }));
    configs.extend(["two-rooms-lava", "four-rooms", "long-maze"].map(|name| WorldConfig::named(name).unwrap()));
    configs.into_iter().map(|config| config.init().unwrap()).collect()
}

fn two_rooms(resolution: usize) -> Arc<dyn World> {
    WorldConfig::two_rooms(resolution).init().unwrap()
}

#[test]
fn the_oracle_reaches_every_goal_and_the_greedy_agent_does_not() {
    for world in worlds() {
        let (mut reached, mut greedy) = (0, 0);
        for i in 0..40 {
            let task = world.reset(Split::HeldOut, &mut rng(3, Stream::Task, 0, i));
            assert!(world.possible(&task.layout, &task.state) && world.possible(&task.layout, &task.goal));
            let (mut wise, mut blind) = (task.state.clone(), task.state.clone());
            for _ in 0..120 {
                let action = world.oracle(&task.layout, &wise, &task.goal).expect("rooms are connected");
                assert!(action[0].hypot(action[1]) <= world.spec().reach.most() * 1.0001);
                world.step(&task.layout, &mut wise, &action);
                let action = world.greedy(&blind, &task.goal).expect("rooms have a straight way");
                world.step(&task.layout, &mut blind, &action);
                assert!(world.possible(&task.layout, &blind), "never inside a wall: {blind:?}");
            }
            reached += u32::from(world.success(&wise, &task.goal));
            greedy += u32::from(world.success(&blind, &task.goal));
        }
        assert_eq!(reached, 40, "{}", world.spec().name);
        assert!(greedy < 30, "{}: straight ahead reaches {greedy} of 40", world.spec().name);
    }
}

#[test]
fn held_out_layouts_never_come_up_in_training() {
    for world in worlds().iter().filter(|w| w.spec().name != "two-rooms-fixed") {
        let layouts = |split| -> HashSet<String> {
            (0..3000).map(|i| format!("{:?}", world.reset(split, &mut rng(1, Stream::Play, 0, i)).layout)).collect()
        };
        let (training, held_out) = (layouts(Split::Training), layouts(Split::HeldOut));
        assert!(held_out.len() > 10 && training.len() > 100, "{} and {}", held_out.len(), training.len());
        assert!(training.is_disjoint(&held_out), "{}", world.spec().name);
    }
}

/// What lies between start and goal of held-out tasks, in longest steps.
fn ways(world: &dyn World, count: u64) -> Vec<f32> {
    (0..count)
        .map(|i| {
            let task = world.reset(Split::HeldOut, &mut rng(7, Stream::Task, 0, i));
            world.way(&task.layout, &task.goal)(&task.state) / world.spec().reach.most()
        })
        .collect()
}

#[test]
fn far_goals_lie_as_far_as_they_are_asked_to() {
    let config = |name: &str, nearest: usize, farthest: usize| match name {
        "four-rooms" => WorldConfig::FourRooms { resolution: 16, nearest, farthest },
        _ => WorldConfig::LongMaze { resolution: 16, nearest, farthest },
    };
    for (name, longest) in [("four-rooms", 30.0), ("long-maze", 50.0)] {
        let usual = ways(config(name, 10, 75).init().unwrap().as_ref(), 200);
        assert!(usual.iter().all(|steps| (10.0..=75.0).contains(steps)), "{name}: {usual:?}");
        let most = usual.iter().copied().fold(0.0, f32::max);
        assert!(most > longest, "{name}: the farthest of 200 is {most} steps off");
        let some = ways(config(name, 20, 30).init().unwrap().as_ref(), 50);
        assert!(some.iter().all(|steps| (20.0..=30.0).contains(steps)), "{name}: {some:?}");
        for (nearest, farthest) in [(30, 20), (500, 600)] {
            let refused = config(name, nearest, farthest).init().err().unwrap().to_string();
            assert!(refused.contains(&format!("found {nearest} to {farthest}")) && refused.contains(name), "{refused}");
        }
    }
}

#[test]
fn a_long_maze_has_one_way_and_four_rooms_may_have_a_door_shut() {
    let doors = |name: &str, i: u64| -> usize {
        let world = WorldConfig::named(name).unwrap().init().unwrap();
        world.reset(Split::Training, &mut rng(1, Stream::Play, 0, i)).layout.iter().filter(|door| **door > 0.0).count()
    };
    // A tree of sixteen rooms has fifteen edges; that all are joined, the oracle's test shows.
    assert!((0..30).all(|i| doors("long-maze", i) == 15));
    let shut = (0..60).filter(|i| doors("four-rooms", *i) == 3).count();
    assert!((15..45).contains(&shut) && (0..60).all(|i| [3, 4].contains(&doors("four-rooms", i))), "{shut} of 60");
}

#[test]
fn anywhere_is_every_part_of_a_layout_and_no_wall() {
    for world in worlds() {
        let mut random = rng(2, Stream::Explore, 0, 0);
        let layout = world.reset(Split::Training, &mut random).layout;
        let places: Vec<[f32; 2]> = (0..400)
            .map(|_| {
                let state = world.anywhere(&layout, &mut random).expect("rooms can be begun in anywhere");
                assert!(world.possible(&layout, &state), "{state:?} of {layout:?}");
                world.place(&state)
            })
            .collect();
        // Each ninth of the room that has room.
        let ninths: HashSet<(u8, u8)> = places.iter().map(|[x, y]| ((x * 3.0) as u8, (y * 3.0) as u8)).collect();
        assert_eq!(ninths.len(), 9, "{}", world.spec().name);
    }
}

#[test]
fn a_wall_stops_and_a_door_lets_through() {
    let world = two_rooms(32);
    let layout = [30.0, 40.0];
    let walk = |from: [f32; 2], by: [f32; 2], times: usize| {
        let mut state = from;
        (0..times).for_each(|_| world.step(&layout, &mut state, &by));
        state
    };
    let [x, y] = walk([25.0, 20.0], [2.0, 0.0], 10);
    assert!((x - 28.5).abs() < 0.01 && y == 20.0, "the wall is three pixels thick: {x} {y}");
    let [x, _] = walk([25.0, 40.0], [2.0, 0.0], 5);
    assert!((x - 35.0).abs() < 1e-4, "through the door: {x}");
    let [x, _] = walk([10.0, 30.0], [-100.0, 0.0], 1);
    assert!((x - 7.55).abs() < 1e-4, "an action is cut to 2.45: {x}");
    let [x, _] = walk([10.0, 30.0], [f32::NAN, f32::INFINITY], 3);
    assert_eq!(x, 10.0, "what is no number moves nothing");
}

#[test]
fn a_picture_shows_the_dot_where_it_is_and_the_walls() {
    let world = two_rooms(65);
    let mut out = vec![f32::NAN; world.spec().pixels()];
    world.render(&[30.0, 40.0], &[20.5, 12.5], &mut out);
    assert!(out.iter().all(|x| (0.0..=1.0).contains(x)));
    let at = |channel: usize, x: usize, y: usize| out[(channel * 65 + y) * 65 + x];
    assert!((at(0, 20, 12) - 1.0).abs() < 1e-6);
    assert!((at(0, 21, 12) - (-0.5_f32 / 1.69).exp()).abs() < 1e-6, "standard deviation 1.3");
    assert_eq!([at(1, 2, 30), at(1, 29, 20), at(1, 29, 40), at(1, 15, 30)], [1.0, 1.0, 0.0, 0.0]);
    assert_eq!([at(1, 29, 35), at(1, 29, 36), at(1, 29, 43), at(1, 29, 44)], [1.0, 0.0, 0.0, 1.0], "a door of 8");
}

#[test]
fn what_people_are_shown_is_what_the_model_sees() {
    for world in worlds() {
        let task = world.reset(Split::HeldOut, &mut rng(2, Stream::Task, 0, 0));
        let side = world.spec().observation[1];
        let mut seen = vec![0.0; world.spec().pixels()];
        world.render(&task.layout, &task.state, &mut seen);
        let scene = world.scene(&task.layout, side).unwrap();
        assert_eq!(scene.solid, seen[side * side..2 * side * side], "{}", world.spec().name);
        // The dot is brightest where its place is said to be.
        let brightest = (0..side * side).max_by(|a, b| seen[*a].total_cmp(&seen[*b])).unwrap();
        let place = world.place(&task.state).map(|x| (x * side as f32) as usize);
        assert_eq!([brightest % side, brightest / side], place, "{}", world.spec().name);
    }
}

#[test]
fn play_is_a_function_of_its_place_and_its_states_follow_from_its_actions() {
    for world in worlds() {
        let name = world.spec().name.clone();
        let play = Play::new(Arc::clone(&world), PlayConfig::default(), 5).unwrap();
        let source = play.training(6);
        let batch = source.batch(9).unwrap();
        assert_eq!(batch, source.batch(9).unwrap());
        assert_ne!(batch, source.batch(10).unwrap());
        for (i, window) in batch.iter().enumerate() {
            assert_eq!(*window, play.window(Split::Training, 9, i as u64));
            assert_eq!(
                (window.frames, window.observations.len(), window.actions.len(), window.states.len()),
                (17, 17 * world.spec().pixels(), 32, 34)
            );
            for (t, action) in window.actions.chunks_exact(2).enumerate() {
                let long = action[0].hypot(action[1]);
                assert!((0.2..=1.8001).contains(&long), "{name}: a step of {long}");
                let moved = (window.states[2 * t + 2] - window.states[2 * t])
                    .hypot(window.states[2 * t + 3] - window.states[2 * t + 1]);
                assert!(moved <= long + 1e-4, "{name}: {moved} of {long}");
            }
        }
    }
}

#[test]
fn much_play_goes_through_doors() {
    let world = two_rooms(32);
    let crossings = (0..400)
        .filter(|i| {
            let mut random = rng(2, Stream::Play, 0, *i);
            let task = world.reset(Split::Training, &mut random);
            let actions = world.behave(&task, 90, &mut random);
            let (mut state, side) = (task.state.clone(), task.state[0] > task.layout[0]);
            actions.chunks_exact(2).any(|action| {
                world.step(&task.layout, &mut state, action);
                (state[0] > task.layout[0]) != side
            })
        })
        .count();
    assert!((100..300).contains(&crossings), "{crossings} of 400");
}

#[test]
fn impossible_settings_are_refused_in_a_sentence() {
    let refused = |config: WorldConfig| config.init().err().unwrap().to_string();
    assert!(refused(WorldConfig::two_rooms(3)).contains("16 to 256"));
    assert!(refused(WorldConfig::Maze { resolution: 32, rooms: 9 }).contains("2 to 4 along a side, found 9"));
    for (count, said) in [(1, "2 to 8"), (9, "found 9")] {
        let config = WorldConfig::Discs { discs: count, view: Auto::Auto, resolution: 32 };
        assert!(refused(config).contains(said));
    }
    let small = WorldConfig::Discs { discs: 5, view: Auto::Auto, resolution: 15 };
    assert!(refused(small).contains("16 to 256 pixels, found 15"));
    let unknown = WorldConfig::named("three-rooms").unwrap_err().to_string();
    assert!(
        unknown.contains("`three-rooms`") && WorldConfig::NAMES.iter().all(|name| unknown.contains(name)),
        "{unknown}"
    );
    let world = two_rooms(32);
    assert!(
        Play::new(world, PlayConfig { episode: 9, window: 10, ..PlayConfig::default() }, 0)
            .err()
            .unwrap()
            .to_string()
            .contains("must fit its episode")
    );
}

fn discs(discs: usize, view: DiscView) -> Arc<dyn World> {
    WorldConfig::Discs { discs, view: Auto::Value(view), resolution: 32 }.init().unwrap()
}

#[test]
fn discs_begin_apart_and_stay_so_and_their_colours_are_held_out() {
    for count in 2..=8 {
        let world = discs(count, DiscView::Picture);
        let layouts = |split| -> HashSet<String> {
            let one = |i| {
                let task = world.reset(split, &mut rng(1, Stream::Play, 0, i));
                assert!(world.possible(&task.layout, &task.state) && world.possible(&task.layout, &task.goal));
                format!("{:?}", task.layout)
            };
            (0..300).map(one).collect()
        };
        let (training, held_out) = (layouts(Split::Training), layouts(Split::HeldOut));
        assert!(!held_out.is_empty() && training.is_disjoint(&held_out), "{count}");
        let mut random = rng(1, Stream::Play, 0, 0);
        let task = world.reset(Split::Training, &mut random);
        let (mut state, mut met) = (task.state.clone(), 0);
        for action in world.behave(&task, 200, &mut random).chunks_exact(2) {
            let before = world.bodies(&state);
            world.step(&task.layout, &mut state, action);
            assert!(world.possible(&task.layout, &state), "{count}: {state:?}");
            let turned = |(a, b): (&Body, &Body)| a.velocity != b.velocity;
            met += usize::from(before[1..].iter().zip(&world.bodies(&state)[1..]).any(turned));
        }
        assert!((10..200).contains(&met), "{count} discs: something is met in {met} of 200 steps");
    }
}

#[test]
fn the_pushed_disc_alone_is_pushed_and_is_held_back() {
    let world = discs(3, DiscView::Picture);
    let bodies = [[8.0, 8.0], [24.0, 8.0], [16.0, 24.0]].map(|place| Body { place, velocity: [0.5, 0.0] });
    let mut state = world.of_bodies(&bodies).unwrap();
    assert_eq!(world.bodies(&state), bodies);
    // Longer than the longest action, 0.5, along y.
    world.step(&[], &mut state, &[0.0, 9.0]);
    let after = world.bodies(&state);
    let near = |a: [f32; 2], b: [f32; 2]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(near(after[0].velocity, [0.4, 0.5]) && near(after[0].place, [8.4, 8.5]), "{after:?}");
    assert!(near(after[1].velocity, [0.5, 0.0]) && near(after[1].place, [24.5, 8.0]), "{after:?}");
    assert!((world.distance(&state, &world.of_bodies(&bodies).unwrap()) - 0.4_f32.hypot(0.5)).abs() < 1e-6);
}

#[test]
fn a_picture_of_discs_is_their_masks_in_their_colours_and_objects_are_their_numbers() {
    let (world, named) = (discs(3, DiscView::Picture), discs(3, DiscView::Objects));
    let task = world.reset(Split::Training, &mut rng(4, Stream::Play, 0, 0));
    assert_eq!(task, named.reset(Split::Training, &mut rng(4, Stream::Play, 0, 0)), "one world, two views");
    let masks = world.masks(&task.state);
    let mut seen = vec![f32::NAN; world.spec().pixels()];
    world.render(&task.layout, &task.state, &mut seen);
    for (n, body) in world.bodies(&task.state).iter().enumerate() {
        let mask = &masks[n * 1024..][..1024];
        // A disc of radius 3 in pixels of 1.
        assert!((mask.iter().sum::<f32>() - 28.27).abs() < 1.0, "{}", mask.iter().sum::<f32>());
        let centre = body.place[1] as usize * 32 + body.place[0] as usize;
        assert_eq!(mask[centre], 1.0);
        let colour = [0, 1, 2].map(|channel| seen[channel * 1024 + centre]);
        assert_eq!(colour, task.layout[3 * n..][..3], "disc {n}");
    }
    assert_eq!(task.layout[..3], [1.0; 3], "the pushed disc is white");
    let mut objects = vec![f32::NAN; 21];
    named.render(&task.layout, &task.state, &mut objects);
    for n in 0..3 {
        let numbers: Vec<f32> = (0..7).map(|feature| objects[feature * 3 + n]).collect();
        assert_eq!(numbers, [&task.state[4 * n..][..4], &task.layout[3 * n..][..3]].concat());
    }
}

#[test]
fn straight_ahead_mostly_brings_the_pushed_disc_to_its_goal() {
    let world = discs(5, DiscView::Picture);
    let reached = (0..40)
        .filter(|i| {
            let task = world.reset(Split::HeldOut, &mut rng(3, Stream::Task, 0, *i));
            let mut state = task.state.clone();
            for _ in 0..80 {
                let action = world.greedy(&state, &task.goal).expect("discs have a straight way");
                world.step(&task.layout, &mut state, &action);
            }
            world.success(&state, &task.goal)
        })
        .count();
    assert!((28..=40).contains(&reached), "{reached} of 40");
}

#[test]
fn a_name_gives_the_world_of_that_name() {
    for name in WorldConfig::NAMES {
        let config = WorldConfig::named(name).unwrap();
        assert_eq!([config.name(), &config.init().unwrap().spec().name], [name; 2]);
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<WorldConfig>(&written).unwrap(), config, "{written}");
        assert_eq!(serde_json::from_str::<WorldConfig>(&format!("{{\"kind\":\"{name}\"}}")).unwrap(), config);
    }
}

#[test]
fn strides_see_every_so_many_steps_and_tell_all_actions_between() {
    let strides = Play::new(two_rooms(32), PlayConfig { episode: 40, window: 4, frameskip: 3 }, 5).unwrap();
    let pixels = strides.world().spec().pixels();
    let window = strides.window(Split::Training, 2, 1);
    assert_eq!((window.frames, window.actions.len(), window.states.len()), (4, 18, 8));
    assert_eq!((strides.actions().mean.len(), strides.single_actions().mean.len()), (6, 2));
    // The first state, carried through the actions by a world with the same walls.
    let task = strides.world().reset(Split::Training, &mut rng(5, Stream::Play, 2, 1));
    let mut state = window.states[..2].to_vec();
    for (t, block) in window.actions.chunks_exact(6).enumerate() {
        block.chunks_exact(2).for_each(|action| strides.world().step(&task.layout, &mut state, action));
        assert_eq!(state, window.states[2 * t + 2..][..2]);
        let mut seen = vec![0.0; pixels];
        strides.world().render(&task.layout, &state, &mut seen);
        assert_eq!(seen, window.observations[(t + 1) * pixels..][..pixels]);
    }
    // A policy's pairs of moments: what was done first leads from the one towards the other.
    let moment = strides.moment(Split::Training, (2, 1), 1);
    assert_eq!((moment.now.len(), moment.goal.len(), moment.action.len()), (pixels, pixels, 2));
    assert_eq!(moment, strides.moment(Split::Training, (2, 1), 1));
    assert_ne!(moment, strides.moment(Split::Training, (2, 2), 1));
}

#[test]
fn lava_lies_in_the_way_stops_nobody_and_can_be_gone_around() {
    let world = WorldConfig::named("two-rooms-lava").unwrap().init().unwrap();
    let (side, mut met, mut longer) = (32, 0, 0);
    for i in 0..40 {
        let task = world.reset(Split::HeldOut, &mut rng(3, Stream::Task, 0, i));
        let hazard = |state: &[f32]| world.hazard(&task.layout, state);
        assert!(world.has_hazards() && hazard(&task.state) < 1.0 && hazard(&task.goal) < 1.0);
        let mut wise = task.state.clone();
        let way = world.way(&task.layout, &task.goal);
        let through = two_rooms(side).way(&task.layout[..2], &task.goal)(&task.state);
        longer += u32::from(way(&task.state) > through + 0.5);
        for _ in 0..120 {
            let action = world.oracle(&task.layout, &wise, &task.goal).expect("there is a way around");
            let before = way(&wise);
            world.step(&task.layout, &mut wise, &action);
            assert!(way(&wise) <= before + 0.5, "nearer with each step");
            met += u32::from(hazard(&wise) >= 1.0);
        }
        assert!(world.success(&wise, &task.goal));
        // Its own channel shows where it is.
        let mut seen = vec![f32::NAN; world.spec().pixels()];
        world.render(&task.layout, &task.state, &mut seen);
        let lava = &seen[2 * side * side..];
        let area = lava.iter().sum::<f32>() * (65.0 / side as f32).powi(2);
        assert!((area - 144.0).abs() < 0.5, "a square of 12 pixels: {area}");
        assert_eq!(world.scene(&task.layout, side).unwrap().harmful, lava);
    }
    assert_eq!(met, 0, "the shortest way is one around it");
    assert!((10..40).contains(&longer), "in the way of {longer} tasks of 40");
    // In its middle, at its edge, halfway up its heat, and beyond that.
    let layout = [20.0, 30.0, 35.0, 30.0];
    let hazards = [[35.0, 30.0], [41.0, 30.0], [42.5, 30.0], [44.1, 30.0]].map(|place| world.hazard(&layout, &place));
    assert_eq!(hazards, [1.0, 1.0, 0.5, 0.0]);
}

#[test]
fn two_rooms_can_be_built_and_lit_otherwise_and_keep_their_layouts() {
    let with = |look: RoomsLook| WorldConfig::TwoRooms { resolution: 65, look }.init();
    let usual = RoomsLook::default();
    let world = with(usual).unwrap();
    let task = world.reset(Split::HeldOut, &mut rng(3, Stream::Task, 0, 1));
    let shown = |look: RoomsLook| {
        let world = with(look).unwrap();
        let other = world.reset(Split::HeldOut, &mut rng(3, Stream::Task, 0, 1));
        assert_eq!(other.layout, task.layout, "{look:?}");
        let mut out = vec![0.0; world.spec().pixels()];
        world.render(&task.layout, &task.state, &mut out);
        let (dot, walls) = out.split_at(65 * 65);
        let sum = |values: &[f32]| values.iter().map(|x| f64::from(*x)).sum::<f64>();
        let most = |values: &[f32]| values.iter().copied().fold(0.0, f32::max);
        (sum(dot), sum(walls), most(dot), most(walls))
    };
    let (dot, walls, ..) = shown(usual);
    let inner = 65.0 - 2.0 * 5.0;
    let (_, thick, ..) = shown(RoomsLook { wall: 6.0, ..usual });
    assert!((thick - walls - 3.0 * (inner - 8.0)).abs() < 1e-2, "{walls} to {thick}");
    let (_, wide, ..) = shown(RoomsLook { door: 12.0, ..usual });
    assert!((walls - wide - 3.0 * 4.0).abs() < 1e-2, "{walls} to {wide}");
    let (large, ..) = shown(RoomsLook { dot: 2.6, ..usual });
    assert!((large / dot - 4.0).abs() < 0.05, "{dot} to {large}");
    let (_, _, bright, solid) = shown(RoomsLook { dot_light: 0.5, wall_light: 0.25, ..usual });
    assert!(bright <= 0.5 && bright > 0.3 && solid == 0.25, "{bright} and {solid}");
    // A wider door lets through where the usual one does not.
    let passes = |look: RoomsLook| {
        let (world, layout) = (with(look).unwrap(), [30.0, 40.0]);
        let mut state = vec![28.0, 45.0];
        (0..4).for_each(|_| world.step(&layout, &mut state, &[2.0, 0.0]));
        state[0] > 32.0
    };
    assert!(!passes(usual) && passes(RoomsLook { door: 12.0, ..usual }));
    for (look, key) in [
        (RoomsLook { wall: 0.0, ..usual }, "`data.world.wall` must be 1 to 12, found 0"),
        (RoomsLook { door: f32::NAN, ..usual }, "`data.world.door` must be 4 to 16, found NaN"),
        (RoomsLook { dot: 9.0, ..usual }, "`data.world.dot` must be 0.5 to 4, found 9"),
        (RoomsLook { wall_light: 0.0, ..usual }, "`data.world.wall_light` must be above 0 and at most 1, found 0"),
    ] {
        assert_eq!(with(look).err().unwrap().to_string(), key);
    }
    // A run from before these settings has none of them.
    let old: WorldConfig = serde_json::from_str(r#"{"kind":"two-rooms","resolution":32}"#).unwrap();
    assert_eq!(old, WorldConfig::two_rooms(32));
}
