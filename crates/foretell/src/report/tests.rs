//! The page as a whole: hostile input, missing input, and nothing from outside.

use super::*;

fn picture(side: u32) -> Rgb {
    let pixels = (0..3 * side * side).map(|i| (i * 7 % 256) as u8).collect();
    Rgb { width: side, height: side, pixels }
}

fn labelled(label: &str) -> Labelled {
    Labelled { image: picture(8), label: Some(label.to_owned()) }
}

fn empty() -> Report {
    Report { title: "I-JEPA on shapes".to_owned(), ..Report::default() }
}

/// A report with something in every place, every text of it being `word`.
fn full(word: &str) -> Report {
    let text = || word.to_owned();
    Report {
        title: text(),
        verdict: Verdict {
            health: Health::PartialCollapse,
            sentences: vec![text()],
            measures: vec![Measure {
                name: text(),
                trained: text(),
                untrained: text(),
                threshold: text(),
                met: Some(false),
            }],
        },
        facts: vec![(text(), text())],
        probes: vec![ProbeRow { features: text(), probe: text(), factor: text(), accuracy: 0.5 }],
        curves: vec![Curve {
            title: text(),
            unit: text(),
            series: vec![(text(), vec![(0.0, 1.0), (1.0, 2.0)]), (text(), vec![(0.0, 3.0)])],
            log_y: true,
        }],
        masks: vec![MaskPicture { image: picture(8), grid: (2, 2), classes: vec![0, 1, 2, 3] }],
        views: vec![ViewPicture { image: picture(8), views: vec![picture(4), picture(4)] }],
        features: vec![FeaturePicture {
            image: picture(8),
            grid: (2, 2),
            trained: vec![[1, 2, 3]; 4],
            untrained: vec![[4, 5, 6]; 4],
        }],
        neighbours: vec![Neighbours {
            query: labelled(word),
            trained: vec![labelled(word)],
            untrained: vec![labelled("other")],
        }],
        readings: vec![Reading { features: text(), error: 2.5 }],
        forecast: vec![Curve { title: text(), unit: text(), series: vec![(text(), vec![(1.0, 0.5)])], log_y: false }],
        episodes: vec![Moving { title: text(), note: text(), side: 4, gif: b"GIF89a".to_vec() }],
        decisions: vec![(text(), text(), text())],
        commands: vec![(text(), text())],
        config_toml: text(),
    }
}

fn curve(points: &[(f64, f64)], log_y: bool) -> String {
    let series = vec![("only".to_owned(), points.to_vec())];
    let curve = Curve { title: "loss".to_owned(), unit: String::new(), series, log_y };
    render(&Report { curves: vec![curve], ..empty() })
}

#[test]
fn every_text_is_escaped() {
    let page = render(&full("<script>\"it's\" & worse</script>"));
    assert!(!page.contains("<script"));
    assert!(!page.contains("it's"));
    assert!(page.contains("&lt;script&gt;&quot;it&#39;s&quot; &amp; worse&lt;/script&gt;"));
}

#[test]
fn every_section_is_there_and_has_a_link() {
    let page = render(&full("word"));
    for id in [
        "probes",
        "health",
        "training",
        "masks",
        "views",
        "features",
        "neighbours",
        "places",
        "forecast",
        "episodes",
        "decisions",
        "commands",
        "configuration",
    ] {
        assert!(page.contains(&format!("<section id=\"{id}\">")), "{id}");
        assert!(page.contains(&format!("<a href=\"#{id}\">")), "{id}");
    }
    for tag in ["section", "div", "table", "tr", "td", "th", "figure", "svg", "g", "p", "span", "dl", "details"] {
        let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn empty_sections_are_left_out() {
    let page = render(&empty());
    assert!(page.contains("<h1>I-JEPA on shapes</h1>") && page.contains("<strong>Healthy</strong>"));
    assert!(!page.contains("<section") && !page.contains("<dl") && !page.contains("<a "));
}

#[test]
fn nothing_is_loaded_from_outside() {
    let page = render(&full("word"));
    for outside in ["http", "//", "@import", "<link", "<script", "<iframe", "url("] {
        // Base64 may hold slashes, so the pictures are taken out first.
        let page = page.replace("data:image/gif;", "data:image/png;");
        let mut pieces = page.split("data:image/png;base64,");
        let head = pieces.next().into_iter().map(ToOwned::to_owned);
        let tails = pieces.map(|piece| piece.split_once('"').map_or(String::new(), |(_, tail)| tail.to_owned()));
        assert!(head.chain(tails).all(|piece| !piece.contains(outside)), "{outside}");
    }
}

#[test]
fn what_is_not_finite_interrupts_a_line_and_is_counted() {
    let page = curve(&[(0.0, 1.0), (1.0, f64::NAN), (2.0, 1.5), (3.0, f64::INFINITY), (4.0, 1.2)], false);
    assert_eq!(page.matches("<circle").count(), 3);
    assert!(page.contains("Not drawn: 2 not finite."));
    assert!(!page.contains("NaN") && !page.contains("inf "));

    let page = curve(&[(0.0, 1.0), (1.0, 0.0), (2.0, -1.0), (3.0, 10.0)], true);
    assert!(page.contains("Not drawn: 2 not finite or not positive."));
}

#[test]
fn hostile_curves_draw_without_panic() {
    for log_y in [false, true] {
        let nothing = curve(&[(0.0, f64::NAN), (f64::NAN, 1.0)], log_y);
        assert!(nothing.contains("No value can be drawn."));
        assert!(curve(&[], log_y).contains("No value can be drawn."));
        for points in [
            vec![(5.0, 5.0)],
            vec![(1.0, 0.3); 9],
            vec![(0.0, f64::MAX), (1.0, f64::MIN_POSITIVE), (2.0, 1e99), (3.0, 1e-99)],
            vec![(-1e99, -1e99), (1e99, 1e99)],
            vec![(0.0, 1e9), (1.0, 1e9 + 1e-6)],
        ] {
            let page = curve(&points, log_y);
            assert!(!page.contains("NaN") && !page.contains("inf"), "{points:?}");
        }
    }
}

#[test]
fn long_curves_are_thinned_but_keep_their_peak_and_their_end() {
    let mut points: Vec<_> = (0..100_000).map(|i| (f64::from(i), 1.0 + f64::from(i % 10) * 0.01)).collect();
    points[77_777].1 = 9.0;
    points[99_999].1 = 0.125;
    let page = curve(&points, false);
    assert!(page.len() < 40_000, "{}", page.len());
    assert!(page.contains("<b>0.1250</b>") && page.contains("step 99999: 0.1250"));
    // The peak alone reaches the top of the drawing, less the air above it.
    let top = 10.0 + (220.0 - 24.0 - 10.0) * 0.06 / 1.06;
    let peak = page.split(['M', 'L']).filter_map(|corner| corner.split(['"', ' ']).nth(1)?.parse::<f64>().ok());
    assert!(peak.fold(f64::MAX, f64::min) < top + 1.0);
}

#[test]
fn pictures_that_cannot_be_drawn_are_said() {
    let broken = Rgb { width: 4, height: 4, pixels: vec![0; 5] };
    let nothing = Rgb { width: 0, height: 9, pixels: Vec::new() };
    let page = render(&Report {
        masks: vec![MaskPicture { image: broken.clone(), grid: (2, 2), classes: vec![1; 4] }],
        views: vec![ViewPicture { image: nothing, views: vec![broken.clone()] }],
        features: vec![FeaturePicture { image: broken, grid: (3, 3), trained: vec![[0; 3]; 2], untrained: Vec::new() }],
        ..empty()
    });
    assert_eq!(page.matches("no picture").count(), 6);
    assert!(!page.contains("<img") && !page.contains("<image"));
}

#[test]
fn a_mask_covers_its_tokens_and_nothing_else() {
    let odd = |grid, classes| {
        let masks = vec![MaskPicture { image: picture(8), grid, classes }];
        render(&Report { masks, ..empty() })
    };
    let page = odd((2, 2), vec![0, 1, 2, 2]);
    assert!(page.contains("<path class=\"veil\" d=\"M0.00 0.00h4.00v4.00h-4.00z\"/>"));
    assert!(page.contains("<path class=\"t0\" d=\"M0.00 4.00h4.00v4.00h-4.00zM4.00 4.00h4.00v4.00h-4.00z\"/>"));
    assert!(page.contains("target 1") && !page.contains("target 2"));
    // Grids and classes that do not fit each other cost tints, never a panic.
    for (grid, classes) in [((0, 0), vec![2; 4]), ((2, 2), vec![2; 9]), ((5, 5), vec![255])] {
        assert!(odd(grid, classes).contains("<image"));
    }
}

#[test]
fn probes_stand_beside_their_controls() {
    let row = |features: &str, probe: &str, accuracy| ProbeRow {
        features: features.to_owned(),
        probe: probe.to_owned(),
        factor: "class".to_owned(),
        accuracy,
    };
    let page = render(&Report {
        probes: vec![
            row("trained", "linear", 0.861),
            row("untrained", "linear", 0.748),
            row("trained", "knn", 0.2),
            row("untrained", "knn", 0.3),
            row("pixels", "attentive", f64::NAN),
        ],
        ..empty()
    });
    assert!(page.contains("86.1 %") && page.contains("+11.3 points by training"));
    assert!(page.contains("−10.0 points by training"));
    assert!(page.contains("not finite") && page.contains("k-nearest neighbours"));
}

#[test]
fn readings_stand_beside_their_controls() {
    let reading = |features: &str, error| Reading { features: features.to_owned(), error };
    let readings = vec![reading("trained", 2.0), reading("untrained", 8.0), reading("mean", f64::NAN)];
    let page = render(&Report { readings, ..empty() });
    assert!(page.contains("width:25.00%") && page.contains("width:100.00%") && page.contains("not finite"));
    // A film that could not be made leaves no frame.
    let film = Moving { title: "episode 0".to_owned(), note: String::new(), side: 260, gif: Vec::new() };
    assert!(!render(&Report { episodes: vec![film], ..empty() }).contains("episode 0"));
}

#[test]
fn pictures_survive_their_encoding() {
    use base64::Engine as _;
    let original = picture(13);
    let uri = original.data_uri().unwrap();
    let encoded = uri.strip_prefix("data:image/png;base64,").unwrap();
    let png = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
    let decoded = image::load_from_memory(&png).unwrap().into_rgb8();
    assert_eq!(decoded.dimensions(), (13, 13));
    assert_eq!(decoded.into_raw(), original.pixels);
}

#[test]
fn a_search_shows_every_picture_with_its_name_and_no_text_becomes_markup() {
    let picture = |label: &str, width: u32| {
        let image = Rgb { width, height: 1, pixels: vec![9; 3 * width as usize] };
        Labelled { image, label: Some(label.to_owned()) }
    };
    let gone = Labelled { image: Rgb { width: 0, height: 0, pixels: Vec::new() }, label: Some("gone.png".to_owned()) };
    let nearest = vec![(picture("<b>.png", 2), 0.9877), (gone, -0.5)];
    let found = vec![Found { query: picture("\"q\" & co", 1), nearest }];
    let page = render_search(&SearchPage { title: "<i>".to_owned(), facts: Vec::new(), found });
    assert_eq!((page.matches("<img ").count(), page.matches("no picture").count()), (2, 1));
    for part in ["0.9877", "-0.5000", "&lt;b&gt;.png", "gone.png", "&quot;q&quot; &amp; co", "<h1>&lt;i&gt;</h1>"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("<b>.png") && !page.contains("<i>") && !page.contains("class=\"verdict"));
}
