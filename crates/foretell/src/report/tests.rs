//! The page as a whole: hostile input, missing input, and nothing from outside.

use foretell_eval::{Better, Card, Figures, Grid, Picture, Pictures, Strip, TRAINED, Tile, UNTRAINED};

use super::*;

fn picture(side: usize) -> Option<Picture> {
    let pixels: Vec<u8> = (0..3 * side * side).map(|i| (i * 7 % 256) as u8).collect();
    Picture::rgb(side, side, &pixels)
}

fn empty() -> Report {
    Report {
        title: "I-JEPA on shapes".to_owned(),
        verdict: Verdict { health: foretell_train::Verdict::Healthy, sentences: Vec::new(), measures: Vec::new() },
        facts: Vec::new(),
        findings: Vec::new(),
        curves: Vec::new(),
        decisions: Vec::new(),
        commands: Vec::new(),
        config_toml: String::new(),
    }
}

/// A page of findings alone.
fn found(findings: Vec<Finding>) -> String {
    render(&Report { findings, ..empty() })
}

fn cards(key: &str, legend: &[&str], cards: Vec<Card>) -> Finding {
    let legend = legend.iter().map(|name| (*name).to_owned()).collect();
    Finding::pictures(key, "Pictures", "", Pictures { legend, cards })
}

fn masked(picture: Option<Picture>, (rows, columns): (usize, usize), classes: Vec<u8>) -> Card {
    let grid = Some(Grid { rows, columns, classes });
    Card { tiles: vec![Tile { grid, ..Tile::new(picture, "") }], strips: Vec::new() }
}

/// Findings with something in every place, every text of them being `word`, with keys of their own.
fn findings(word: &str) -> Vec<Finding> {
    let figures = || {
        let mut figures = Figures::new(&[word, "labels", word], word, word, Better::Higher);
        for labels in [10usize, 20] {
            figures.push([word.into(), labels.into(), word.into()], 0.5);
            figures.push([word.into(), labels.into(), TRAINED.into()], 0.5);
        }
        figures.rows[0].spread = Some(0.1);
        figures.refer(word, [Some(word.into()), None, None], 0.25);
        figures
    };
    let tile = |picture| Tile { marked: true, ..Tile::new(picture, word) };
    let strip = Strip { name: word.to_owned(), note: word.to_owned(), tiles: vec![tile(picture(8)), tile(None)] };
    let near = Card { tiles: vec![tile(picture(8))], strips: vec![strip.clone(), strip] };
    let mut mask = masked(picture(8), (2, 2), vec![0, 1, 2, 3]);
    mask.tiles[0].caption = word.to_owned();
    let film = Card { tiles: vec![tile(Picture::gif(4, 4, b"GIF89a".to_vec()))], strips: Vec::new() };
    let mut all = vec![
        Finding::figures("probes", word, word, figures()),
        Finding::figures("forecast", word, word, figures().along("labels")),
        cards("masks", &[word; 4], vec![mask]),
        cards("neighbours", &[], vec![near]),
        cards("episodes", &[], vec![film]),
    ];
    for finding in &mut all {
        (finding.title, finding.lead) = (word.to_owned(), word.to_owned());
    }
    all
}

/// A report with something in every place, every text of it being `word`.
fn full(word: &str) -> Report {
    let text = || word.to_owned();
    Report {
        title: text(),
        verdict: Verdict {
            health: foretell_train::Verdict::PartialCollapse,
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
        findings: findings(word),
        curves: vec![Curve {
            title: text(),
            unit: text(),
            along: text(),
            series: vec![(text(), vec![(0.0, 1.0), (1.0, 2.0)]), (text(), vec![(0.0, 3.0)])],
            log_y: true,
        }],
        decisions: vec![(text(), text(), text())],
        commands: vec![(text(), text())],
        config_toml: text(),
    }
}

fn curve(points: &[(f64, f64)], log_y: bool) -> String {
    let series = vec![("only".to_owned(), points.to_vec())];
    let curve = Curve { title: "loss".to_owned(), unit: String::new(), along: "step".to_owned(), series, log_y };
    render(&Report { curves: vec![curve], ..empty() })
}

#[test]
fn every_text_is_escaped() {
    let word = "<script>\"it's\" & worse</script>";
    let mut report = full(word);
    // Not even a key is trusted: findings are read from a file.
    report.findings.extend(findings(word).into_iter().map(|finding| Finding { key: word.to_owned(), ..finding }));
    let page = render(&report);
    assert!(!page.contains("<script"));
    assert!(!page.contains("it's"));
    assert!(page.contains("&lt;script&gt;&quot;it&#39;s&quot; &amp; worse&lt;/script&gt;"));
}

#[test]
fn every_section_is_there_and_has_a_link() {
    let page = render(&full("word"));
    for id in [
        "probes",
        "forecast",
        "masks",
        "neighbours",
        "episodes",
        "health",
        "training",
        "decisions",
        "commands",
        "configuration",
    ] {
        assert!(page.contains(&format!("<section id=\"{id}\">")), "{id}");
        assert!(page.contains(&format!("<a href=\"#{id}\">")), "{id}");
    }
    for tag in [
        "section",
        "div",
        "table",
        "caption",
        "tr",
        "td",
        "th",
        "figure",
        "figcaption",
        "svg",
        "g",
        "p",
        "span",
        "dl",
        "details",
    ] {
        let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn empty_sections_are_left_out() {
    let nothing = vec![
        cards("masks", &["unused"], Vec::new()),
        cards("views", &[], vec![Card::default()]),
        Finding::figures("probes", "Probes", "", Figures::new(&["features"], "accuracy", "", Better::Higher)),
    ];
    let page = found(nothing);
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
    let tile = || Tile::new(None, "sample");
    let strip = Strip { tiles: vec![tile()], ..Strip::default() };
    let page = found(vec![
        cards("masks", &["unused"], vec![masked(None, (2, 2), vec![1; 4])]),
        cards("views", &[], vec![Card { tiles: vec![tile()], strips: vec![strip] }]),
        cards("features", &[], vec![Card { tiles: vec![tile(), tile(), tile()], strips: Vec::new() }]),
    ]);
    assert_eq!(page.matches("no picture").count(), 6);
    assert!(!page.contains("<img") && !page.contains("<image"));
}

#[test]
fn a_mask_covers_its_tokens_and_nothing_else() {
    let legend = ["unused", "context", "target 1", "target 2"];
    let odd = |grid, classes| found(vec![cards("masks", &legend, vec![masked(picture(8), grid, classes)])]);
    let page = odd((2, 2), vec![0, 1, 2, 2]);
    assert!(page.contains("<path class=\"veil\" d=\"M0.00 0.00h4.00v4.00h-4.00z\"/>"));
    assert!(page.contains("<path class=\"t0\" d=\"M0.00 4.00h4.00v4.00h-4.00zM4.00 4.00h4.00v4.00h-4.00z\"/>"));
    // The legend names the tints that occur; the context has none.
    assert!(page.contains("<u>unused</u>") && page.contains("<u>target 1</u>"));
    assert!(!page.contains("context") && !page.contains("target 2"));
    // Grids and classes that do not fit each other cost tints, never a panic.
    for (grid, classes) in
        [((0, 0), vec![2; 4]), ((2, 2), vec![2; 9]), ((5, 5), vec![255]), ((usize::MAX, 2), vec![2; 4])]
    {
        assert!(odd(grid, classes).contains("<image"));
    }
}

#[test]
fn every_picture_of_a_page_has_an_anchor_of_its_own() {
    let mask = || masked(picture(8), (2, 2), vec![2; 4]);
    let two = Card { tiles: [mask().tiles, mask().tiles].concat(), strips: Vec::new() };
    let page = found(vec![cards("masks", &[], vec![mask(), two]), cards("targets", &[], vec![mask()])]);
    let ids: Vec<&str> = page.split("<image id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(ids, ["masks-0-0", "masks-1-0", "masks-1-1", "targets-0-0"]);
    for id in ids {
        assert_eq!(page.matches(&format!("<use href=\"#{id}\"/>")).count(), 1, "{id}");
    }
}

#[test]
fn neighbours_of_the_same_class_are_marked() {
    let tile = |label: &str, marked| Tile { marked, ..Tile::new(picture(8), label) };
    let near = vec![tile("cat", true), tile("dog", false)];
    let strip = Strip { name: TRAINED.to_owned(), note: "1 of 2".to_owned(), tiles: near };
    let page =
        found(vec![cards("neighbours", &[], vec![Card { tiles: vec![tile("cat", false)], strips: vec![strip] }])]);
    assert!(page.contains("<p>trained<em>1 of 2</em></p>"));
    assert!(page.contains("<figure class=\"marked\" title=\"cat\">") && page.contains("<figure title=\"dog\">"));
}

#[test]
fn probes_stand_beside_their_controls() {
    let mut figures = Figures::new(&["factor", "probe", "features"], "accuracy", Figures::PERCENT, Better::Higher);
    for (features, probe, accuracy) in [
        (TRAINED, "linear", 0.861),
        (UNTRAINED, "linear", 0.748),
        (TRAINED, "knn", 0.2),
        (UNTRAINED, "knn", 0.3),
        ("pixels", "attentive", f64::NAN),
    ] {
        figures.push(["class".into(), probe.into(), features.into()], accuracy);
    }
    figures.push(["hue".into(), "knn".into(), TRAINED.into()], 0.9);
    figures.refer("chance", [Some("class".into()), None, None], 0.125);
    let page = found(vec![Finding::figures("probes", "Probes", "", figures)]);
    assert!(page.contains("86.1 %") && page.contains("width:86.10%"));
    assert!(page.contains("<p class=\"gain\">+11.3 points by training</p>"));
    assert!(page.contains("<p class=\"gain worse\">−10.0 points by training</p>"));
    assert!(page.contains("not finite") && !page.contains("NaN"));
    // A row for each factor, a column for each probe; chance beside each probe of its factor, and nowhere else.
    for head in ["<th scope=\"row\">class</th>", "<th scope=\"row\">hue</th>", "<th scope=\"col\">attentive</th>"] {
        assert_eq!(page.matches(head).count(), 1, "{head}");
    }
    assert_eq!(page.matches("<span>chance</span>").count(), 3);
    assert_eq!((page.matches("12.5 %").count(), page.matches("<td class=\"none\"").count()), (3, 2));
}

#[test]
fn errors_stand_beside_their_controls() {
    let mut figures = Figures::new(&["features"], "error", "world units", Better::Lower);
    for (features, error) in [(TRAINED, 2.0), (UNTRAINED, 8.0), ("mean", f64::NAN)] {
        figures.push([features.into()], error);
    }
    let page = found(vec![Finding::figures("places", "Places", "", figures.clone())]);
    assert!(page.contains("width:25.00%") && page.contains("width:100.00%") && page.contains("not finite"));
    assert!(page.contains("error in world units, lower is better"));
    assert!(page.contains("<p class=\"gain\">−6.000 by training</p>"));
    // Less is better, so more by training is worse.
    figures.rows[0].value = 9.0;
    let page = found(vec![Finding::figures("places", "Places", "", figures)]);
    assert!(page.contains("<p class=\"gain worse\">+1.000 by training</p>"));
}

#[test]
fn figures_along_a_way_are_lines() {
    let mut figures = Figures::new(&["data", "ahead", "of"], "error", "", Better::Lower).along("ahead");
    for (data, factor) in [("seen", 1.0), ("new", 2.0)] {
        for ahead in 1..=4usize {
            figures.push([data.into(), ahead.into(), "model".into()], factor * ahead as f64);
            figures.push([data.into(), ahead.into(), "mean".into()], 5.0);
        }
    }
    figures.refer("best", [Some("new".into()), None, None], 0.5);
    let page = found(vec![Finding::figures("forecast", "What comes next", "", figures)]);
    assert_eq!(page.matches("<svg").count(), 2, "a chart for each data");
    assert!(page.contains("<h3>seen") && page.contains("<h3>new"));
    assert_eq!(page.matches("class=\"line\"").count(), 5, "two series each, and one level");
    assert!(page.contains("model, ahead 4: 8.000") && page.contains("best, ahead 1: 0.5000"), "{page}");
    assert!(page.contains("aria-label=\"new by ahead\"") && !page.contains(">step</text>"));
}

#[test]
fn figures_that_do_not_fit_together_cost_bars_and_never_a_panic() {
    let mut odd = Figures::new(&["a", "b"], "accuracy", "", Better::Higher);
    odd.push(["x".into()], 1.0);
    odd.push([], -1.0);
    odd.push(["x".into(), "y".into(), "z".into()], 0.0);
    odd.refer("level", [None], 1.0);
    let along = odd.clone().along("a");
    let page = found(vec![Finding::figures("odd", "Odd", "", odd), Finding::figures("along", "Along", "", along)]);
    assert!(page.contains("<section id=\"odd\">") && page.contains("<section id=\"along\">"));
    assert!(!page.contains("NaN") && !page.contains("inf"));
}

#[test]
fn a_search_shows_every_picture_with_its_name_and_no_text_becomes_markup() {
    let tile = |label: &str, width: usize| Tile::new(Picture::rgb(width, 1, &vec![9; 3 * width]), label);
    let nearest = vec![tile("0.9877\n<b>.png", 2), Tile::new(None, "-0.5000\ngone.png")];
    let strip = Strip { tiles: nearest, ..Strip::default() };
    let found = vec![Card { tiles: vec![tile("\"q\" & co", 1)], strips: vec![strip] }];
    let page =
        render_search(&SearchPage { title: "<i>".to_owned(), samples: "images".to_owned(), facts: Vec::new(), found });
    assert_eq!((page.matches("<img ").count(), page.matches("no picture").count()), (2, 1));
    for part in ["0.9877", "-0.5000", "&lt;b&gt;.png", "gone.png", "&quot;q&quot; &amp; co", "<h1>&lt;i&gt;</h1>"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("<b>.png") && !page.contains("<i>") && !page.contains("class=\"verdict"));
}
