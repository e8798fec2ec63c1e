//! Pictures: cards of tiles with their captions, rows of smaller ones beside them, and tints over tokens.

use foretell_eval::{Card, Grid, Picture, Pictures, Strip, Tile};

use super::html::text;

/// Target colours of the style sheet.
const COLOURS: usize = 6;
/// Below this many pixels a side, a picture is enlarged without smoothing.
const SMALL: u32 = 128;

/// The content of a section; `None` where there is nothing to show. `id` tells pictures of one page apart.
pub(super) fn body(pictures: &Pictures, id: &str) -> Option<String> {
    let filled: Vec<&Card> =
        pictures.cards.iter().filter(|card| !(card.tiles.is_empty() && card.strips.is_empty())).collect();
    let first = filled.first()?;
    let size = match (first.tiles.len(), first.strips.len()) {
        (1, 0) if first.tiles[0].grid.is_none() => "small",
        (_, 0 | 1) => "medium",
        _ => "large",
    };
    let cards: String = filled.iter().enumerate().map(|(i, shown)| card(shown, &format!("{id}-{i}"))).collect();
    Some(format!("{}<div class=\"grid {size}\">\n{cards}</div>\n", legend(pictures)))
}

/// The classes that have a tint, of those that occur.
fn legend(pictures: &Pictures) -> String {
    let tiles = pictures.cards.iter().flat_map(|card| &card.tiles);
    let grids: Vec<&Grid> = tiles.filter_map(|tile| tile.grid.as_ref()).collect();
    let keys: Vec<String> = pictures
        .legend
        .iter()
        .zip(0..=u8::MAX)
        .filter(|(_, class)| *class != 1 && grids.iter().any(|grid| grid.classes.contains(class)))
        .map(|(name, class)| format!("<span class=\"key {}\"><u>{}</u></span>", tint(class), text(name)))
        .collect();
    if keys.is_empty() { String::new() } else { format!("<p class=\"legend\">{}</p>\n", keys.concat()) }
}

fn tint(class: u8) -> String {
    if class == 0 { "veil".to_owned() } else { format!("t{}", usize::from(class.saturating_sub(2)) % COLOURS) }
}

/// `id` is not HTML.
pub(super) fn card(card: &Card, id: &str) -> String {
    let tiles: String = card.tiles.iter().enumerate().map(|(i, shown)| tile(shown, &format!("{id}-{i}"))).collect();
    if card.strips.is_empty() {
        return format!("<div class=\"card row\">{tiles}</div>\n");
    }
    let strips: String = card.strips.iter().map(strip).collect();
    format!("<div class=\"card near\"><div>{tiles}</div><div>{strips}</div></div>\n")
}

fn tile(tile: &Tile, id: &str) -> String {
    let picture = match (&tile.picture, &tile.grid) {
        (Some(picture), Some(grid)) => tinted(picture, grid, id),
        (picture, _) => img(picture.as_ref(), &tile.caption),
    };
    let caption = caption(&tile.caption);
    format!("<figure>{picture}{caption}</figure>")
}

fn caption(caption: &str) -> String {
    if caption.is_empty() { String::new() } else { format!("<figcaption>{}</figcaption>", text(caption)) }
}

fn strip(strip: &Strip) -> String {
    let Strip { name, note, tiles } = strip;
    if tiles.is_empty() {
        return String::new();
    }
    let head = if name.is_empty() && note.is_empty() {
        String::new()
    } else {
        format!("<p>{}<em>{}</em></p>", text(name), text(note))
    };
    let tiles: Vec<String> = tiles
        .iter()
        .map(|tile| {
            format!(
                "<figure{} title=\"{}\">{}{}</figure>",
                if tile.marked { " class=\"marked\"" } else { "" },
                text(&tile.caption),
                img(tile.picture.as_ref(), &tile.caption),
                caption(&tile.caption),
            )
        })
        .collect();
    format!("{head}<div class=\"tiles\">{}</div>", tiles.concat())
}

/// The class that keeps small pictures sharp.
fn sharpness(picture: &Picture) -> &'static str {
    if picture.width.max(picture.height) < SMALL { "sharp" } else { "smooth" }
}

/// An `<img>`, or a box that says that there is no picture.
fn img(picture: Option<&Picture>, alt: &str) -> String {
    let Some(picture) = picture else { return "<span class=\"missing\">no picture</span>".to_owned() };
    format!(
        "<img class=\"{}\" width=\"{}\" height=\"{}\" src=\"{}\" alt=\"{}\">",
        sharpness(picture),
        picture.width,
        picture.height,
        picture.data_uri(),
        text(alt),
    )
}

/// The picture and its tints beside each other, or above each other where it is wide (a spectrogram).
fn tinted(picture: &Picture, grid: &Grid, id: &str) -> String {
    let Grid { rows, columns, classes } = grid;
    let (width, height) = (f64::from(picture.width), f64::from(picture.height));
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
            .take(rows.saturating_mul(*columns))
            .enumerate()
            .filter(|(_, found)| **found == class)
            .map(|(token, _)| {
                let (x, y) = ((token % columns) as f64 * cell_width, (token / columns) as f64 * cell_height);
                format!("M{x:.2} {y:.2}h{cell_width:.2}v{cell_height:.2}h-{cell_width:.2}z")
            })
            .collect();
        layers.push(format!("<path class=\"{}\" d=\"{}\"/>", tint(class), cells.concat()));
    }
    let id = text(id);
    format!(
        "<svg class=\"mask\" viewBox=\"0 0 {:.2} {:.2}\" role=\"img\" aria-label=\"as it is, and tinted\">\
         <g><image id=\"{id}\" class=\"{}\" width=\"{width}\" height=\"{height}\" href=\"{}\"/></g>\
         <g transform=\"translate({right:.2} {down:.2})\"><use href=\"#{id}\"/>{}</g></svg>",
        width + right,
        height + down,
        sharpness(picture),
        picture.data_uri(),
        layers.concat(),
    )
}
