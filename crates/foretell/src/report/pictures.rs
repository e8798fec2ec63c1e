//! What the network saw and sees: masks, views, features as colours, nearest neighbours.

use super::html::{Section, text};
use super::{FeaturePicture, Labelled, MaskPicture, Neighbours, Rgb, ViewPicture};

/// Target colours of the style sheet.
const COLOURS: usize = 6;

pub(super) fn masks(pictures: &[MaskPicture]) -> Option<Section> {
    let targets = pictures.iter().flat_map(|picture| &picture.classes).max()?.saturating_sub(1);
    let keys: Vec<_> = (0..targets)
        .map(|k| format!("<span class=\"key t{}\"><u>target {}</u></span>", usize::from(k) % COLOURS, k + 1))
        .collect();
    let unused = pictures.iter().any(|picture| picture.classes.contains(&0));
    let cards: Vec<_> = pictures.iter().enumerate().map(|(i, picture)| mask(i, picture)).collect();
    Some(Section {
        id: "masks",
        title: "What was hidden",
        lead: "Left the sample, right its mask. The context encoder saw only the part without a tint; from it the \
               predictor foretold the features of the targets.",
        body: format!(
            "<p class=\"legend\">{}{}</p>\n<div class=\"grid medium\">\n{}</div>\n",
            keys.concat(),
            if unused { "<span class=\"key veil\"><u>unused</u></span>" } else { "" },
            cards.concat(),
        ),
    })
}

/// Sample and mask beside each other, or above each other where the sample is wide (a spectrogram).
fn mask(index: usize, picture: &MaskPicture) -> String {
    let MaskPicture { image, grid: (rows, columns), classes } = picture;
    let Some(uri) = image.data_uri() else {
        return "<div class=\"card\"><span class=\"missing\">no picture</span></div>\n".to_owned();
    };
    let (width, height) = (f64::from(image.width), f64::from(image.height));
    let gap = 0.06 * width.min(height);
    let (right, down) = if width > 1.6 * height { (0.0, height + gap) } else { (width + gap, 0.0) };
    let (cell_width, cell_height) = (width / (*columns).max(1) as f64, height / (*rows).max(1) as f64);
    let mut layers = Vec::new();
    let mut present: Vec<u8> = classes.iter().copied().filter(|class| *class != 1).collect();
    present.sort_unstable();
    present.dedup();
    for class in present {
        let cells: Vec<_> = classes
            .iter()
            .take(rows * columns)
            .enumerate()
            .filter(|(_, found)| **found == class)
            .map(|(token, _)| {
                let (x, y) = ((token % columns) as f64 * cell_width, (token / columns) as f64 * cell_height);
                format!("M{x:.2} {y:.2}h{cell_width:.2}v{cell_height:.2}h-{cell_width:.2}z")
            })
            .collect();
        let name = if class == 0 { "veil".to_owned() } else { format!("t{}", usize::from(class - 2) % COLOURS) };
        layers.push(format!("<path class=\"{name}\" d=\"{}\"/>", cells.concat()));
    }
    format!(
        "<div class=\"card\"><svg class=\"mask\" viewBox=\"0 0 {:.2} {:.2}\" role=\"img\" aria-label=\"sample and mask\">\
         <g><image id=\"sample-{index}\" class=\"{}\" width=\"{width}\" height=\"{height}\" href=\"{uri}\"/></g>\
         <g transform=\"translate({right:.2} {down:.2})\"><use href=\"#sample-{index}\"/>{}</g></svg></div>\n",
        width + right,
        height + down,
        image.class(),
        layers.concat(),
    )
}

pub(super) fn views(pictures: &[ViewPicture]) -> Option<Section> {
    if pictures.is_empty() {
        return None;
    }
    let cards: Vec<_> = pictures
        .iter()
        .map(|picture| {
            let views: Vec<_> = picture.views.iter().map(|view| view.img("view")).collect();
            format!(
                "<div class=\"card views\"><figure>{}<figcaption>sample</figcaption></figure>\
                 <div class=\"tiles\">{}</div></div>\n",
                picture.image.img("sample"),
                views.concat(),
            )
        })
        .collect();
    Some(Section {
        id: "views",
        title: "What was compared",
        lead: "Each sample with the views that were made of it. Training draws the codes of one sample's views \
               together.",
        body: format!("<div class=\"grid medium\">\n{}</div>\n", cards.concat()),
    })
}

pub(super) fn features(pictures: &[FeaturePicture]) -> Option<Section> {
    if pictures.is_empty() {
        return None;
    }
    let cards: Vec<_> = pictures
        .iter()
        .map(|picture| {
            let FeaturePicture { image, grid, trained, untrained } = picture;
            format!(
                "<div class=\"card trio\"><figure>{}<figcaption>sample</figcaption></figure>\
                 <figure>{}<figcaption>trained</figcaption></figure>\
                 <figure>{}<figcaption>untrained</figcaption></figure></div>\n",
                image.img("sample"),
                colours(*grid, trained).img("trained features"),
                colours(*grid, untrained).img("untrained features"),
            )
        })
        .collect();
    Some(Section {
        id: "features",
        title: "What the features see",
        lead: "The first three principal components of each token's features, as red, green and blue. Equal \
               colours mean that the network treats two places alike.",
        body: format!("<div class=\"grid medium\">\n{}</div>\n", cards.concat()),
    })
}

/// One pixel for each token.
fn colours((rows, columns): (usize, usize), tokens: &[[u8; 3]]) -> Rgb {
    let side = |n: usize| u32::try_from(n).unwrap_or(0);
    Rgb { width: side(columns), height: side(rows), pixels: tokens.concat() }
}

pub(super) fn neighbours(all: &[Neighbours]) -> Option<Section> {
    if all.is_empty() {
        return None;
    }
    let cards: Vec<_> = all
        .iter()
        .map(|found| {
            let Neighbours { query, trained, untrained } = found;
            format!(
                "<div class=\"card near\"><figure>{}<figcaption>{}</figcaption></figure><div>{}{}</div></div>\n",
                query.image.img("query"),
                query.label.as_deref().map_or_else(|| "query".to_owned(), |label| text(label).to_string()),
                row("trained", query, trained),
                row("untrained", query, untrained),
            )
        })
        .collect();
    Some(Section {
        id: "neighbours",
        title: "Nearest neighbours",
        lead: if all.iter().any(|found| found.query.label.is_some()) {
            "Left the sample that was asked for, right those whose features lie nearest, nearest first. \
             Underlined are those with the same label."
        } else {
            "Left the sample that was asked for, right those whose features lie nearest, nearest first."
        },
        body: format!("<div class=\"grid large\">\n{}</div>\n", cards.concat()),
    })
}

fn row(name: &str, query: &Labelled, found: &[Labelled]) -> String {
    if found.is_empty() {
        return String::new();
    }
    let same = |other: &Labelled| query.label.is_some() && other.label == query.label;
    let tiles: Vec<_> = found
        .iter()
        .map(|other| {
            let label = other.label.as_deref().unwrap_or("neighbour");
            format!(
                "<span{} title=\"{}\">{}</span>",
                if same(other) { " class=\"same\"" } else { "" },
                text(label),
                other.image.img(&text(label).to_string()),
            )
        })
        .collect();
    let count = if query.label.is_some() {
        let right = found.iter().filter(|other| same(other)).count();
        format!("<em>{right} of {}</em>", found.len())
    } else {
        String::new()
    };
    format!("<p>{name}{count}</p><div class=\"tiles\">{}</div>", tiles.concat())
}
