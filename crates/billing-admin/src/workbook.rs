//! Tables as a workbook for a spreadsheet (ECMA-376, the part called SpreadsheetML). It is written as its rows are read and
//! goes out as it is written, so that its length does not matter; texts stand in their cells.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, ZipWriter};

use crate::list::export::Value;

/// A sheet has so many rows, the one of the headings among them.
const ROWS: u32 = 1_048_576;
/// A cell holds so many characters, in units of UTF-16.
const LONGEST: usize = 32_767;
/// A longer number is rounded by spreadsheets.
const DIGITS: usize = 15;
/// The longest name of a sheet, with room for a number.
const NAME: usize = 25;
/// The styles of cells, as `STYLES` has them.
const HEAD: u8 = 1;
const AMOUNT: u8 = 2;
const WHOLE: u8 = 3;
const TIME: u8 = 4;

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n";
const MAIN: &str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
const RELATIONS: &str = "http://schemas.openxmlformats.org/package/2006/relationships";
const DOCUMENT: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const TYPES: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml";

pub(crate) const CONTENT_TYPE: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// What was written and is not taken yet.
#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A workbook that is being written.
pub(crate) struct Workbook {
    zip: ZipWriter<StreamWriter<Out>>,
    out: Out,
    zone: Tz,
    /// The names of the sheets, the last of which is open.
    sheets: Vec<String>,
    /// Of the open sheet: its own name, its headings, and the rows that it has.
    name: String,
    heads: Vec<String>,
    rows: u32,
    /// How many rows a sheet has at most.
    most: u32,
}

impl Workbook {
    /// Times are by the clocks of this zone: a cell has none of its own.
    pub(crate) fn new(zone: Tz) -> Self {
        Self::of(zone, ROWS)
    }

    fn of(zone: Tz, most: u32) -> Self {
        let out = Out::default();
        let zip = ZipWriter::new_stream(out.clone());
        Self { zip, out, zone, sheets: Vec::new(), name: String::new(), heads: Vec::new(), rows: 0, most }
    }

    /// Begins a sheet.
    pub(crate) fn sheet(&mut self, name: &str, heads: &[&str]) -> io::Result<()> {
        self.name = name.chars().map(|c| if "[]:*?/\\'".contains(c) { ' ' } else { c }).take(NAME).collect();
        self.heads = heads.iter().map(|&head| head.to_owned()).collect();
        let number = 1 + self.sheets.iter().filter(|name| name.starts_with(&self.name)).count();
        let name = if number == 1 { self.name.clone() } else { format!("{} {number}", self.name) };
        self.open(name)
    }

    fn open(&mut self, name: String) -> io::Result<()> {
        self.close()?;
        self.sheets.push(name);
        self.part(&format!("xl/worksheets/sheet{}.xml", self.sheets.len()))?;
        let mut text = format!(
            "{DECLARATION}<worksheet xmlns=\"{MAIN}\"><sheetViews><sheetView workbookViewId=\"0\"><pane ySplit=\"1\" \
             topLeftCell=\"A2\" activePane=\"bottomLeft\" state=\"frozen\"/></sheetView></sheetViews>"
        );
        if !self.heads.is_empty() {
            let _ = write!(
                text,
                "<cols><col min=\"1\" max=\"{}\" width=\"22\" customWidth=\"1\"/></cols>",
                self.heads.len()
            );
        }
        text.push_str("<sheetData><row r=\"1\">");
        for (column, head) in self.heads.iter().enumerate() {
            string(&mut text, &place(column, 1), head, HEAD);
        }
        text.push_str("</row>");
        self.rows = 1;
        self.zip.write_all(text.as_bytes())
    }

    fn close(&mut self) -> io::Result<()> {
        if self.sheets.is_empty() { Ok(()) } else { self.zip.write_all(b"</sheetData></worksheet>") }
    }

    /// A row. Behind the last one that a sheet can have the next sheet goes on.
    pub(crate) fn line(&mut self, values: &[Value]) -> io::Result<()> {
        if self.rows == self.most {
            let number = 1 + self.sheets.iter().filter(|name| name.starts_with(&self.name)).count();
            self.open(format!("{} {number}", self.name))?;
        }
        self.rows += 1;
        let mut text = format!("<row r=\"{}\">", self.rows);
        for (column, value) in values.iter().enumerate() {
            cell(&mut text, &place(column, self.rows), value, self.zone);
        }
        text.push_str("</row>");
        self.zip.write_all(text.as_bytes())
    }

    /// What goes out next. It may be nothing: it is packed in blocks.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut *self.out.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The rest of it.
    pub(crate) fn finish(mut self) -> io::Result<Vec<u8>> {
        self.close()?;
        let mut types = format!(
            "{DECLARATION}<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\">\
             <Default Extension=\"rels\" ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/>\
             <Default Extension=\"xml\" ContentType=\"application/xml\"/>\
             <Override PartName=\"/xl/workbook.xml\" ContentType=\"{TYPES}.sheet.main+xml\"/>\
             <Override PartName=\"/xl/styles.xml\" ContentType=\"{TYPES}.styles+xml\"/>"
        );
        let mut book = format!("{DECLARATION}<workbook xmlns=\"{MAIN}\" xmlns:r=\"{DOCUMENT}\"><sheets>");
        let mut relations = format!("{DECLARATION}<Relationships xmlns=\"{RELATIONS}\">");
        for (name, n) in self.sheets.iter().zip(1..) {
            let _ = write!(
                types,
                "<Override PartName=\"/xl/worksheets/sheet{n}.xml\" ContentType=\"{TYPES}.worksheet+xml\"/>"
            );
            let _ = write!(book, "<sheet name=\"{}\" sheetId=\"{n}\" r:id=\"rId{n}\"/>", escaped(name));
            let _ = write!(
                relations,
                "<Relationship Id=\"rId{n}\" Type=\"{DOCUMENT}/worksheet\" Target=\"worksheets/sheet{n}.xml\"/>"
            );
        }
        types.push_str("</Types>");
        book.push_str("</sheets></workbook>");
        let _ = write!(
            relations,
            "<Relationship Id=\"rId0\" Type=\"{DOCUMENT}/styles\" Target=\"styles.xml\"/></Relationships>"
        );
        let root = format!(
            "{DECLARATION}<Relationships xmlns=\"{RELATIONS}\"><Relationship Id=\"rId1\" Type=\"{DOCUMENT}/officeDocument\" \
             Target=\"xl/workbook.xml\"/></Relationships>"
        );
        let styles = styles();
        for (part, text) in [
            ("xl/workbook.xml", &book),
            ("xl/_rels/workbook.xml.rels", &relations),
            ("xl/styles.xml", &styles),
            ("_rels/.rels", &root),
            ("[Content_Types].xml", &types),
        ] {
            self.part(part)?;
            self.zip.write_all(text.as_bytes())?;
        }
        self.zip.finish()?;
        Ok(std::mem::take(&mut *self.out.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn part(&mut self, name: &str) -> io::Result<()> {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        Ok(self.zip.start_file(name, options)?)
    }
}

/// `C7`.
fn place(column: usize, row: u32) -> String {
    let mut letters = Vec::new();
    let mut rest = column + 1;
    while rest > 0 {
        letters.push(b'A' + u8::try_from((rest - 1) % 26).unwrap_or_default());
        rest = (rest - 1) / 26;
    }
    letters.iter().rev().map(|letter| char::from(*letter)).chain(row.to_string().chars()).collect()
}

/// Texts are texts, whatever they begin with: none of them is a formula.
fn cell(into: &mut String, place: &str, value: &Value, zone: Tz) {
    let mut number = |text: &str, style: u8| {
        let _ = write!(into, "<c r=\"{place}\" s=\"{style}\"><v>{text}</v></c>");
    };
    match value {
        Value::Nothing => {}
        Value::Text(text) => string(into, place, text, 0),
        Value::Number(n) => match n.to_string() {
            text if text.len() > DIGITS => string(into, place, &text, 0),
            text => number(&text, 0),
        },
        Value::Amount(amount, currency) => {
            let sign = if amount.get() < 0 { "-" } else { "" };
            let digits = amount.get().unsigned_abs();
            match currency.decimals() {
                0 => number(&format!("{sign}{digits}"), WHOLE),
                width => {
                    let unit = 10_u64.pow(width);
                    let (whole, part) = (digits / unit, digits % unit);
                    number(&format!("{sign}{whole}.{part:0width$}", width = width as usize), AMOUNT);
                }
            }
        }
        Value::At(at) => number(&serial(*at, zone), TIME),
    }
}

/// Days since the end of 1899, as spreadsheets count time.
pub(crate) fn serial(at: DateTime<Utc>, zone: Tz) -> String {
    const A_DAY: i64 = 86_400;
    let local = at.with_timezone(&zone).naive_local();
    let first = NaiveDate::from_ymd_opt(1899, 12, 30).unwrap_or_default().and_time(chrono::NaiveTime::MIN);
    let seconds = (local - first).num_seconds();
    let (day, second) = (seconds.div_euclid(A_DAY), seconds.rem_euclid(A_DAY));
    // Ten digits tell a second from its neighbours, with half of the last one added.
    let part = (second * 10_000_000_000 + A_DAY / 2) / A_DAY;
    format!("{day}.{part:010}")
}

fn string(into: &mut String, place: &str, text: &str, style: u8) {
    let text = clipped(text);
    let text = escaped(&text);
    let _ = write!(
        into,
        "<c r=\"{place}\" s=\"{style}\" t=\"inlineStr\"><is><t xml:space=\"preserve\">{text}</t></is></c>"
    );
}

fn clipped(text: &str) -> String {
    let mut units = 0;
    let fits = |c: &char| {
        units += c.len_utf16();
        units < LONGEST
    };
    let kept: String = text.chars().take_while(fits).collect();
    if kept.len() < text.len() { kept + "…" } else { kept }
}

/// What XML cannot hold is written as spreadsheets do: `_x0007_`; and so is what would be read as that.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | '\n' => escaped.push(c),
            '_' if is_escape(&text[at..]) => escaped.push_str("_x005F_"),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(escaped, "_x{:04X}_", u32::from(c));
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

fn is_escape(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 7 && bytes.starts_with(b"_x") && bytes[6] == b'_' && bytes[2..6].iter().all(u8::is_ascii_hexdigit)
}

/// Plain; bold for headings; amounts, with and without a fraction; times.
fn styles() -> String {
    format!(
        "{DECLARATION}<styleSheet xmlns=\"{MAIN}\"><numFmts count=\"1\"><numFmt numFmtId=\"164\" \
         formatCode=\"yyyy\\-mm\\-dd\\ hh:mm:ss\"/></numFmts><fonts count=\"2\"><font><sz val=\"11\"/><name val=\"Calibri\"/></font>\
         <font><b/><sz val=\"11\"/><name val=\"Calibri\"/></font></fonts><fills count=\"2\"><fill><patternFill \
         patternType=\"none\"/></fill><fill><patternFill patternType=\"gray125\"/></fill></fills><borders count=\"1\"><border>\
         <left/><right/><top/><bottom/><diagonal/></border></borders><cellStyleXfs count=\"1\"><xf numFmtId=\"0\" fontId=\"0\" \
         fillId=\"0\" borderId=\"0\"/></cellStyleXfs><cellXfs count=\"5\"><xf numFmtId=\"0\" fontId=\"0\" fillId=\"0\" \
         borderId=\"0\" xfId=\"0\"/><xf numFmtId=\"0\" fontId=\"1\" fillId=\"0\" borderId=\"0\" xfId=\"0\" applyFont=\"1\"/>\
         <xf numFmtId=\"4\" fontId=\"0\" fillId=\"0\" borderId=\"0\" xfId=\"0\" applyNumberFormat=\"1\"/><xf numFmtId=\"3\" \
         fontId=\"0\" fillId=\"0\" borderId=\"0\" xfId=\"0\" applyNumberFormat=\"1\"/><xf numFmtId=\"164\" fontId=\"0\" \
         fillId=\"0\" borderId=\"0\" xfId=\"0\" applyNumberFormat=\"1\"/></cellXfs><cellStyles count=\"1\"><cellStyle \
         name=\"Normal\" xfId=\"0\" builtinId=\"0\"/></cellStyles></styleSheet>"
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{Cursor, Read as _};

    use billing::{Currency, Kopecks};

    use super::*;

    /// The parts of a workbook, by name.
    pub(crate) fn parts(bytes: Vec<u8>) -> Vec<(String, String)> {
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).expect("an archive");
        let mut parts = Vec::new();
        for n in 0..archive.len() {
            let mut part = archive.by_index(n).expect("a part");
            let mut text = String::new();
            part.read_to_string(&mut text).expect("XML");
            let name = part.name().expect("a name").into_owned();
            parts.push((name, text));
        }
        parts
    }

    /// The cells of a sheet, row by row; those that are not there are empty.
    pub(crate) fn rows(sheet: &str) -> Vec<Vec<String>> {
        let between = |text: &str, from: &str, to: &str| {
            text.split_once(from).and_then(|(_, rest)| Some(rest.split_once(to)?.0.to_owned()))
        };
        let mut rows = Vec::new();
        for row in sheet.split("<row ").skip(1) {
            let mut cells: Vec<String> = Vec::new();
            for cell in row.split("<c ").skip(1) {
                let column =
                    between(cell, "r=\"", "\"").and_then(|place| place.bytes().next()).expect("a place") - b'A';
                let text =
                    between(cell, "preserve\">", "</t>").or_else(|| between(cell, "<v>", "</v>")).expect("a value");
                let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
                cells.resize(usize::from(column), String::new());
                cells.push(text);
            }
            rows.push(cells);
        }
        rows
    }

    fn sheets(book: Workbook) -> Vec<Vec<Vec<String>>> {
        let parts = parts(book.finish().expect("it is written to memory"));
        let sheets = parts.iter().filter(|(name, _)| name.starts_with("xl/worksheets/"));
        sheets.map(|(_, text)| rows(text)).collect()
    }

    #[test]
    fn cells_are_what_they_are_and_no_text_is_a_formula() {
        let mut book = Workbook::new(Tz::Europe__Moscow);
        book.sheet("list", &["what"]).unwrap();
        let at = "2026-11-30T06:00:01Z".parse().unwrap();
        book.line(&[
            Value::Text("=HYPERLINK(\"x\") & <b>".to_owned()),
            Value::Amount(Kopecks::new(-123_405), Currency::RUB),
            Value::Nothing,
            Value::Number(i64::MAX),
            Value::Number(-7),
            Value::At(at),
        ])
        .unwrap();
        let xml = parts(book.finish().unwrap()).swap_remove(0).1;
        assert!(xml.contains("t=\"inlineStr\"") && !xml.contains("<f>"), "{xml}");
        let cells = rows(&xml).swap_remove(1);
        // Nine hours and a second by the clocks of Moscow.
        let days = NaiveDate::from_ymd_opt(2026, 11, 30).unwrap() - NaiveDate::from_ymd_opt(1899, 12, 30).unwrap();
        let time = format!("{}.3750115741", days.num_days());
        assert_eq!(cells, ["=HYPERLINK(\"x\") & <b>", "-1234.05", "", "9223372036854775807", "-7", time.as_str(),]);
    }

    #[test]
    fn more_rows_than_a_sheet_has_go_on_in_the_next() {
        let mut book = Workbook::of(Tz::UTC, 3);
        book.sheet("list", &["n"]).unwrap();
        for n in 1..=5 {
            book.line(&[Value::Number(n)]).unwrap();
        }
        book.sheet("list", &["other"]).unwrap();
        let written = sheets(book);
        let of = |texts: &[&str]| texts.iter().map(|text| vec![(*text).to_owned()]).collect::<Vec<_>>();
        assert_eq!(written, [of(&["n", "1", "2"]), of(&["n", "3", "4"]), of(&["n", "5"]), of(&["other"])]);
    }

    #[test]
    fn sheets_are_named_once_and_as_they_may_be() {
        let mut book = Workbook::new(Tz::UTC);
        for _ in 0..2 {
            book.sheet("a/b: [what] 'costs' how much & why", &[]).unwrap();
        }
        let parts = parts(book.finish().unwrap());
        let (_, text) = parts.iter().find(|(name, _)| name == "xl/workbook.xml").unwrap();
        let names: Vec<&str> = text.split("name=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(names, ["a b   what   costs  how m", "a b   what   costs  how m 2"]);
        let names: Vec<&str> = parts.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.contains(&"[Content_Types].xml") && names.contains(&"xl/worksheets/sheet2.xml"), "{names:?}");
    }

    #[test]
    fn what_xml_cannot_hold_is_written_as_spreadsheets_do() {
        assert_eq!(escaped("a\u{7}_x0041_ _x \u{ffff}<"), "a_x0007__x005F_x0041_ _x _xFFFF_&lt;");
        assert_eq!(clipped(&"я".repeat(40_000)).chars().count(), LONGEST);
        assert_eq!([place(0, 1), place(25, 2), place(26, 3), place(702, 4)], ["A1", "Z2", "AA3", "AAA4"]);
    }
}
