//! `foretell search`: the nearest neighbours of a sample, or of a row, among features.

use std::path::PathBuf;

use foretell_data::Film;
use foretell_eval::{Card, Features, Strip, Tile, nearest_in_order};
use foretell_train::write_whole;
use serde::Serialize;

use crate::output::{counted, print, print_json, say};
use crate::report::{SearchPage, render_search};
use crate::search::gallery::{Gallery, located};
use crate::search::index::Index;
use crate::search::maker::{Asked, Maker, by_model};
use crate::{DeviceChoice, Error};
use foretell_systems::judges::moving;

/// Frames of what moves, at most.
const LOOP: usize = 8;
/// Side of the report's pictures in pixels: the shorter one, at most.
const SHOWN: usize = 192;

/// What `search` was asked.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("asked").required(true).args(["query", "row"])))]
pub struct SearchArgs {
    /// Features that `foretell embed` wrote (.npz or .safetensors), or the index that was made of them.
    input: PathBuf,
    /// Samples whose neighbours to find, of the kind that was embedded: files or folders; also clips, where a published model
    /// made the features.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    query: Vec<PathBuf>,
    /// Rows whose neighbours to find, from 0; they do not find themselves.
    #[arg(long, value_name = "N", num_args = 1..)]
    row: Vec<usize>,
    /// Neighbours to list for each.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// The run that made the features; it makes the query's too. The index remembers it.
    #[arg(long)]
    run: Option<PathBuf>,
    /// Where the published model that made the features now lies. The features remember where it lay, and how it made them.
    #[arg(long, value_name = "DIR|FILE", conflicts_with = "run")]
    model: Option<PathBuf>,
    /// The data that the features were made of, as `embed` was given them. The index remembers them.
    #[arg(long = "data", visible_alias = "images", value_name = "DATA", num_args = 1..)]
    images: Vec<PathBuf>,
    /// Write a page that shows queries and neighbours.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceChoice,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

/// The outcome for scripts.
#[derive(Serialize)]
struct Outcome<'a> {
    rows: usize,
    width: usize,
    queries: Vec<Answer<'a>>,
    /// What there is to know of the rows.
    notes: &'a [String],
}

#[derive(Serialize)]
struct Answer<'a> {
    query: &'a str,
    neighbours: Vec<Hit<'a>>,
}

#[derive(Serialize)]
struct Hit<'a> {
    row: usize,
    name: &'a str,
    /// None of a row of zeros.
    similarity: Option<f32>,
}

/// What is sought: names, features and, where they were given, pictures.
struct Queries {
    names: Vec<String>,
    features: Features,
    /// None where they were not given.
    pictures: Vec<Option<Film>>,
    /// Where they are rows of the index themselves.
    rows: Vec<usize>,
}

/// Runs the command.
pub fn search(args: &SearchArgs) -> Result<(), Error> {
    let (mut index, kept) = Index::open(&args.input)?;
    if let Some(row) = args.row.iter().find(|row| **row >= index.rows.rows) {
        let (rows, last) = (counted(index.rows.rows, "row"), index.rows.rows - 1);
        return Err(Error::Misuse(format!("`--row {row}`: {} has {rows}, 0 to {last}", args.input.display())));
    }
    let (maker, news) = settle_origin(args, &mut index, kept)?;
    let maker = maker_for(args, &index, maker)?;
    let queries = if args.query.is_empty() { of_rows(args, &index) } else { of_samples(args, &index, maker.as_ref())? };
    let (found, notes) = find(args, &index, &queries)?;
    for note in &notes {
        say(format_args!("note: {note}"));
    }
    let answers: Vec<Answer<'_>> =
        queries.names.iter().zip(&found).map(|(name, found)| answer(&index, found, name)).collect();
    if let Some(path) = &args.report {
        let page = page(args, &index, &queries, &answers, maker.as_ref())?;
        write_whole(path, render_search(&page).as_bytes())?;
    }
    if news {
        keep(args, &index, kept);
    }
    if args.json {
        return print_json(&Outcome { rows: index.rows.rows, width: index.rows.dim, queries: answers, notes: &notes });
    }
    let lines: Vec<String> = answers.iter().map(Answer::lines).collect();
    print(lines.concat())
}

impl Hit<'_> {
    fn similarity(&self) -> String {
        self.similarity.map_or_else(|| "     –".to_owned(), |cosine| format!("{cosine:.4}"))
    }
}

impl Answer<'_> {
    fn lines(&self) -> String {
        let hit = |hit: &Hit<'_>| format!("  {}  {}\n", hit.similarity(), hit.name);
        let hits: Vec<String> = self.neighbours.iter().map(hit).collect();
        format!("{}\n{}", self.query, hits.concat())
    }
}

/// What is known of where the rows came from: what was told now, else what was kept. Also whether that is news to the kept index.
fn settle_origin(args: &SearchArgs, index: &mut Index, kept: bool) -> Result<(Option<Maker>, bool), Error> {
    let mut known = kept.then(|| index.origin.clone());
    let beside = Index::beside(&args.input);
    if !kept && beside.is_file() {
        // An index that is damaged or of other features is made anew.
        let other = Index::open(&beside).ok().filter(|(other, made)| *made && other.is_of_the_same(index));
        known = other.map(|(other, _)| other.origin);
        let (said, precision) = (index.origin.made_by.take(), index.origin.precision);
        index.origin = known.clone().unwrap_or_default();
        index.origin.precision = precision;
        // The index knows where the model went.
        index.origin.made_by = index.origin.made_by.take().or(said);
    }
    settle_model(args, index)?;
    if !args.images.is_empty() {
        index.origin.images = located(&args.images)?;
    }
    let mut maker = None;
    if let Some(run) = &args.run {
        let opened = Maker::open(run, args.device, index.origin.precision)?;
        index.origin.run = Some(std::path::absolute(run).unwrap_or_else(|_| run.clone()));
        index.origin.encoder = Some(opened.mark.clone());
        maker = Some(opened);
    }
    let told = args.run.is_some() || !args.images.is_empty();
    if told && !index.origin.images.is_empty() {
        let gallery = gallery(index, maker.as_ref())?;
        let first = index.names.iter().enumerate().find_map(|(row, name)| Some((row, name, gallery.sample(name)?)));
        if let (Some(maker), Some((row, name, (samples, place)))) = (&maker, first) {
            maker.check(index.rows.row(row), name, samples, place)?;
        }
    }
    Ok((maker, known.is_none_or(|known| known != index.origin)))
}

/// Takes note of where a published model lies now, after it was seen to be the one that made the rows.
fn settle_model(args: &SearchArgs, index: &mut Index) -> Result<(), Error> {
    match (index.origin.made_by.take(), &args.run, &args.model) {
        (Some(made_by), Some(_), _) => Err(Error::Misuse(format!(
            "`--run`: the published model {} made these features, and makes the query's too: leave `--run` out",
            made_by.model().display()
        ))),
        (None, _, Some(model)) => Err(Error::Misuse(format!(
            "`--model {}`: {} does not say that and how a published model made it: embed again with `foretell embed --model`, of pictures or \
             clips and not with `--input`",
            model.display(),
            args.input.display()
        ))),
        (Some(made_by), None, Some(model)) => {
            let made_by = made_by.moved(model);
            // A query of pictures opens it anyway.
            if args.query.is_empty() {
                made_by.open(&args.device.open()?)?;
            }
            index.origin.made_by = Some(made_by);
            Ok(())
        }
        (made_by, _, _) => {
            index.origin.made_by = made_by;
            Ok(())
        }
    }
}

/// The pictures behind the names.
fn gallery<'a>(index: &Index, maker: Option<&'a Maker>) -> Result<Gallery<'a>, Error> {
    let encoder = maker.map(Maker::encoder);
    let gallery = Gallery::open(&index.origin.images, encoder, index.origin.made_by.is_some())?;
    gallery.check(index)?;
    Ok(gallery)
}

/// Keeps the index: in its own file, or beside the features. Where that cannot be done the search is still good.
fn keep(args: &SearchArgs, index: &Index, kept: bool) {
    let place = if kept { args.input.clone() } else { Index::beside(&args.input) };
    match index.write(&place) {
        Ok(()) => say(format_args!("{}: index of {}", place.display(), counted(index.rows.rows, "row"))),
        Err(error) => say(format_args!("the index is not kept: {error}")),
    }
}

fn of_rows(args: &SearchArgs, index: &Index) -> Queries {
    Queries {
        names: args.row.iter().map(|row| index.names[*row].clone()).collect(),
        features: index.rows.select(&args.row),
        pictures: Vec::new(),
        rows: args.row.clone(),
    }
}

/// The run that made the rows, where a query or a page needs it: a page does without where it is gone.
fn maker_for(args: &SearchArgs, index: &Index, maker: Option<Maker>) -> Result<Option<Maker>, Error> {
    if index.origin.made_by.is_some() {
        return Ok(None);
    }
    if !args.query.is_empty() {
        return of_run(args, index, maker).map(Some);
    }
    let opens = |run: &PathBuf| Maker::open(run, args.device, index.origin.precision).ok();
    Ok(maker.or_else(|| index.origin.run.as_ref().filter(|_| args.report.is_some()).and_then(opens)))
}

fn of_samples(args: &SearchArgs, index: &Index, maker: Option<&Maker>) -> Result<Queries, Error> {
    let width = index.rows.dim;
    let asked = match (&index.origin.made_by, maker) {
        (Some(made_by), _) => by_model(made_by, &args.query, width, args.device, args.report.is_some())?,
        (None, Some(maker)) => maker.asked(&args.query, width)?,
        (None, None) => return Err(Error::Failure("nothing makes the query's features".to_owned())),
    };
    let Asked { names, features, pictures } = asked;
    Ok(Queries { names, features, pictures, rows: Vec::new() })
}

/// The run that made the rows.
fn of_run(args: &SearchArgs, index: &Index, maker: Option<Maker>) -> Result<Maker, Error> {
    match (maker, &index.origin.run) {
        (Some(maker), _) => Ok(maker),
        (None, Some(run)) => {
            let opened = Maker::open(run, args.device, index.origin.precision).map_err(|error| {
                Error::Misuse(format!("the run that made the index cannot be used, name it with `--run`: {error}"))
            })?;
            if index.origin.encoder.as_ref().is_some_and(|encoder| *encoder != opened.mark) {
                return Err(Error::Misuse(format!(
                    "the encoder of {} is not the one that the index was made with: embed the data again, or name the right run with `--run`",
                    run.display()
                )));
            }
            Ok(opened)
        }
        (None, None) => Err(Error::Misuse(
            "a query's features are made by what made the index's: name the run with `--run RUN` (features that `foretell embed --model` made of files \
             say their model themselves, and not with `--input`)"
                .to_owned(),
        )),
    }
}

/// The rows nearest to each query, at most `--top`, and their cosines. Rows of zeros have no direction: they come last, without one.
type Found = Vec<Vec<(usize, Option<f32>)>>;

/// Searches, and says what there is to know of rows of zeros.
fn find(args: &SearchArgs, index: &Index, queries: &Queries) -> Result<(Found, Vec<String>), Error> {
    let (directed, zeros) = index.directed();
    let mut notes = Vec::new();
    if let Some(first) = zeros.first() {
        let (zeros, rows, name) = (zeros.len(), index.rows.rows, &index.names[*first]);
        notes.push(format!(
            "{zeros} of {} hold nothing but zeros (the first is `{name}`): without a direction they come last",
            counted(rows, "row")
        ));
    }
    let features = &queries.features;
    let top = args.top as usize;
    let neighbours = match directed.as_slice() {
        [] => None,
        some if some.len() == index.rows.rows => Some(nearest_in_order(features, &index.rows, top + 1)?),
        some => Some(nearest_in_order(features, &index.rows.select(some), top + 1)?),
    };
    let found = (0..features.rows).map(|at| {
        if features.row(at).iter().all(|x| *x == 0.0) {
            notes.push(format!("`{}` holds nothing but zeros: nothing is near it", queries.names[at]));
            return Vec::new();
        }
        let itself = queries.rows.get(at);
        let near = neighbours.iter().flat_map(|found| found.of(at)).map(|(row, cosine)| (directed[row], Some(cosine)));
        let others = near.chain(zeros.iter().map(|row| (*row, None))).filter(|(row, _)| Some(row) != itself);
        others.take(top).collect()
    });
    let found = found.collect();
    Ok((found, notes))
}

fn answer<'a>(index: &'a Index, found: &[(usize, Option<f32>)], query: &'a str) -> Answer<'a> {
    // Rounding leaves some cosines a little above 1.
    let hit = |(row, cosine): &(usize, Option<f32>)| Hit {
        row: *row,
        name: &index.names[*row],
        similarity: cosine.map(|cosine| cosine.clamp(-1.0, 1.0)),
    };
    Answer { query, neighbours: found.iter().map(hit).collect() }
}

fn page(
    args: &SearchArgs,
    index: &Index,
    queries: &Queries,
    answers: &[Answer<'_>],
    maker: Option<&Maker>,
) -> Result<SearchPage, Error> {
    if index.origin.images.is_empty() {
        return Err(Error::Misuse(
            "the report shows what was found: say where it lies with `--data DATA`, as `foretell embed` was given it"
                .to_owned(),
        ));
    }
    let gallery = gallery(index, maker)?;
    let unit = gallery.unit();
    let tile = |caption: &str, film: Option<Film>| Tile::new(film.and_then(|film| moving(&film, LOOP, SHOWN)), caption);
    let card = |(at, answer): (usize, &Answer<'_>)| {
        let given = queries.pictures.get(at).cloned().flatten();
        let hit = |hit: &Hit<'_>| tile(&format!("{}\n{}", hit.similarity().trim(), hit.name), gallery.film(hit.name));
        let nearest = Strip { tiles: answer.neighbours.iter().map(hit).collect(), ..Strip::default() };
        Card { tiles: vec![tile(answer.query, given.or_else(|| gallery.film(answer.query)))], strips: vec![nearest] }
    };
    let title = match answers {
        [only] => format!("Nearest to {}", only.query),
        _ => format!("Nearest to {}", unit.counted(answers.len())),
    };
    let run = index.origin.run.as_ref().map(|run| ("run".to_owned(), run.display().to_string()));
    let model =
        index.origin.made_by.as_ref().map(|made_by| ("model".to_owned(), made_by.model().display().to_string()));
    let facts = [
        ("searched".to_owned(), args.input.display().to_string()),
        (unit.many.to_owned(), index.rows.rows.to_string()),
        ("width".to_owned(), index.rows.dim.to_string()),
    ];
    Ok(SearchPage {
        title,
        samples: unit.many.to_owned(),
        facts: facts.into_iter().chain(run).chain(model).collect(),
        found: answers.iter().enumerate().map(card).collect(),
    })
}
