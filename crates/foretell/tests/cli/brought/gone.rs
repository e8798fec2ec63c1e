//! Data that lost samples since a run began, and data that changed: what goes on, and what is named.

use std::fs;

use super::lost::{Bench, copied, json, name, of_parts, picture, refused, resume, same, spoilt, succeeds};
use crate::made;

/// A bad file that `inspect --deep` finds is removed before the run meets it.
#[test]
fn a_sample_that_the_run_had_not_met_may_go() {
    let bench = Bench::new();
    let (learnt, held_out) = of_parts(&bench);
    let begun = bench.killed(&bench.data(), "begun", "5:checkpoint");
    // Left out because it cannot be read.
    bench.put(learnt, &spoilt(learnt));
    let skipped = copied(&begun, &bench.place("skipped"));
    succeeds(&resume(&skipped, &["--on-bad-sample", "skip"]));
    bench.remove(learnt);
    let removed = copied(&begun, &bench.place("removed"));
    let said = succeeds(&resume(&removed, &[]));
    assert!(said.contains("1 image is gone from the data and passed over") && said.contains(&name(learnt)), "{said}");
    same(&removed, &skipped);
    assert_eq!(json(&removed.join("summary.json"))["skipped"], serde_json::json!([name(learnt)]));
    // Still known when the run is opened once more, and when it comes back.
    let again = resume(&removed, &["--on-bad-sample", "fail"]);
    succeeds(&again);
    bench.put(learnt, &picture(learnt));
    // One that is held out.
    bench.remove(held_out);
    let other = copied(&begun, &bench.place("other"));
    let said = succeeds(&resume(&other, &[]));
    assert!(said.contains(&name(held_out)), "{said}");
    assert_eq!(json(&other.join("summary.json"))["skipped"], serde_json::json!([name(held_out)]));
}

/// A file that a failing disk or a broken copy cut after the run had begun, or ended, is unreadable and no other picture.
#[test]
fn a_sample_that_was_cut_later_is_passed_over() {
    let bench = Bench::new();
    let (learnt, held_out) = of_parts(&bench);
    let run = bench.killed(&bench.data(), "run", "5:checkpoint");
    let cut = |index: usize| bench.put(index, &picture(index)[..picture(index).len() / 2]);
    cut(learnt);
    let said = succeeds(&resume(&run, &["--on-bad-sample", "skip"]));
    assert!(said.contains(&name(learnt)), "{said}");
    cut(held_out);
    let output = crate::foretell().arg("probe").arg(&run).output().unwrap();
    let said = succeeds(&output);
    assert!(said.contains("passed over as unreadable") && said.contains(&name(held_out)), "{said}");
}

#[test]
fn the_first_sample_that_differs_is_named() {
    let bench = Bench::new();
    let (learnt, _) = of_parts(&bench);
    let run = bench.killed(&bench.data(), "run", "5:checkpoint");
    let mut longer = picture(learnt);
    longer.extend([0; 7]);
    bench.put(learnt, &longer);
    let (before, now) = (longer.len() - 7, longer.len());
    refused(
        &resume(&run, &[]),
        &[&format!("`{}` had {before} bytes and has {now} now", name(learnt)), "put them back"],
    );
    bench.put(learnt, &picture(learnt));
    bench.put(500, &picture(500));
    refused(&resume(&run, &[]), &["`even/500.png` is new"]);
    bench.remove(500);
    for index in [learnt, learnt + 1, learnt + 2] {
        bench.remove(index);
    }
    let said = refused(&resume(&run, &[]), &["and 2 more of 120 are missing", "are not what this run began with"]);
    assert!([learnt, learnt + 1, learnt + 2].iter().any(|index| said.contains(&name(*index))), "{said}");
    for index in [learnt, learnt + 1, learnt + 2] {
        bench.put(index, &picture(index));
    }
    // A run that kept no list, as of an earlier version, declines what it cannot tell and takes what it knows.
    fs::remove_file(run.join("samples.jsonl.gz")).unwrap();
    bench.remove(learnt);
    refused(&resume(&copied(&run, &bench.place("old")), &[]), &["some were added, removed, renamed"]);
    bench.put(learnt, &picture(learnt));
    succeeds(&resume(&run, &[]));
    assert!(run.join("samples.jsonl.gz").is_file());
}

/// In a tar, and with classes: what goes with a whole class is another set.
#[test]
fn a_tar_that_lost_one_goes_on_and_a_lost_class_does_not() {
    let bench = Bench::new();
    let tar = bench.place("pictures.tar");
    let pack = |keep: &dyn Fn(&str) -> bool| {
        let class = |index: usize| if index == 7 { "a/7.png".to_owned() } else { name(index) };
        let members: Vec<(String, Vec<u8>)> =
            (0..120).map(|index| (class(index), picture(index))).filter(|(name, _)| keep(name)).collect();
        made::tar(&tar, members.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())))
    };
    pack(&|_| true);
    let run = bench.killed(&tar, "run", "5:checkpoint");
    pack(&|name| name != "a/7.png");
    let last = refused(&resume(&copied(&run, &bench.place("class")), &[]), &["are not what this run began with"]);
    assert!(!last.contains("some were added"), "{last}");
    pack(&|name| name != "odd/011.png");
    let said = succeeds(&resume(&run, &[]));
    assert!(said.contains("odd/011.png"), "{said}");
}
