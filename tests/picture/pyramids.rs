//! Pyramids of tiles and their pages.

use fenchel::data::OutputFile;
use fenchel::engine::Context;
use fenchel::render::{Band, ColourMap, Field, Page, Picture, Pyramid, Scale, Targets};
use fenchel::{Error, Result};
use image::RgbImage;

use super::{Engine, categories, drawn, level, light, numbers};

#[test]
fn pyramids_are_the_picture_at_every_size() {
    let here = tempfile::tempdir().unwrap();
    let field = numbers(|s, t| (7.0 * s).sin() * (20.0 * t).cos() + s);
    let scale = Scale::new(ColourMap::Sequential, -2.0..2.0).unwrap();
    // Three levels: 1301 x 777, 651 x 389, 326 x 195; odd at both edges.
    let size = [777, 1301];
    let picture = Picture { scale: Some(&scale), contours: &[0.25], ..Picture::new(size) };
    let make = |name: &str, memory: u64| {
        let path = here.path().join(name);
        let mut pyramid = Pyramid::create(&path, size).unwrap();
        let context = Context::default().with_memory(memory);
        let targets = Targets { pyramid: Some(&mut pyramid), ..Targets::default() };
        picture.draw_into(&field, targets, &context).unwrap();
        assert!(!path.exists());
        pyramid.finish(&Page::default()).unwrap();
        path
    };
    let path = make("a", 256 << 20);
    let sizes = [[195, 326], [389, 651], [777, 1301]];
    let levels: Vec<RgbImage> =
        sizes.iter().enumerate().map(|(number, size)| level(&path, number, *size)).collect();
    assert_eq!(std::fs::read_dir(path.join("tiles")).unwrap().count(), 3);
    assert!(levels[2] == drawn(&picture, &field).0);
    for pair in levels.windows(2) {
        for (x, y, pixel) in pair[0].enumerate_pixels() {
            let square = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(i, j)| (2 * x + i, 2 * y + j));
            let inside: Vec<[u8; 3]> = square
                .iter()
                .filter(|(x, y)| *x < pair[1].width() && *y < pair[1].height())
                .map(|&(x, y)| pair[1].get_pixel(x, y).0)
                .collect();
            for c in 0..3 {
                let mean = inside.iter().map(|p| light(p[c])).sum::<f64>() / inside.len() as f64;
                // Half a step of the 255.
                let [low, high] = [-0.5, 0.5].map(|off| {
                    let x = ((f64::from(pixel.0[c]) + off) / 255.0).clamp(0.0, 1.0);
                    if x <= 0.04045 { x / 12.92 } else { ((x + 0.055) / 1.055).powf(2.4) }
                });
                assert!((low - 1e-9..=high + 1e-9).contains(&mean), "{x} {y}: {mean} not in {low}..{high}");
            }
        }
    }
    // A small budget changes no byte of any tile.
    let small = make("b", 24 << 20);
    for (number, size) in sizes.iter().enumerate() {
        assert!(level(&small, number, *size) == levels[number]);
    }
}

#[test]
fn pages_refer_to_nothing_outside() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("p");
    let mut pyramid = Pyramid::create(&path, [20, 30]).unwrap();
    let field = categories(|s, _| u32::from(s > 0.0));
    let targets = Targets { pyramid: Some(&mut pyramid), ..Targets::default() };
    Picture::new([20, 30]).draw_into(&field, targets, &Context::default()).unwrap();
    let links = [("values".to_owned(), "../a b.npy".to_owned())];
    let page = Page {
        title: "<a> & {{command}}",
        command: "fenchel 'x' </script>",
        legend: "<svg></svg>",
        links: &links,
    };
    pyramid.finish(&page).unwrap();
    let html = std::fs::read_to_string(path.join("index.html")).unwrap();
    assert!(
        !html.contains("http://")
            && !html.contains("https://")
            && !html.contains("src=\"")
            && !html.contains("@import")
    );
    assert!(!html.contains("fetch(") && !html.contains("XMLHttpRequest"));
    assert!(html.contains("<title>&lt;a&gt; &amp; {{command}}</title>"), "{}", &html[..300]);
    assert!(html.contains("<code>fenchel 'x' &lt;/script&gt;</code>") && html.contains("<svg></svg>"));
    assert!(html.contains("<a href=\"../a%20b.npy\">values</a>"));
    let data = html.split("id=\"picture\">").nth(1).unwrap().split("</script>").next().unwrap();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!((&data["width"], &data["height"], &data["levels"]), (&30.into(), &20.into(), &1.into()));
    assert!(!html.replace("{{command}}", "").contains("{{"));
}

#[test]
fn pyramids_appear_whole_or_not_at_all() {
    let here = tempfile::tempdir().unwrap();
    let count = || std::fs::read_dir(here.path()).unwrap().count();
    let path = here.path().join("p");
    let pyramid = Pyramid::create(&path, [600, 30]).unwrap();
    assert!(pyramid.finish(&Page::default()).unwrap_err().to_string().contains("missing"));
    assert_eq!(count(), 0);
    // A field that fails half-way.
    struct Failing;
    impl Field<Engine> for Failing {
        fn is_categorical(&self) -> bool {
            true
        }

        fn band(&self, across: &[f64], up: &[f64], first: usize, _: &Context) -> Result<Band> {
            match first {
                0 => Ok(Band::Categories(vec![0; across.len() * up.len()])),
                _ => Err(Error::NonFinite { what: "half-way".to_owned(), row: first }),
            }
        }
    }
    let mut pyramid = Pyramid::create(&path, [3000, 1000]).unwrap();
    let png = OutputFile::create(&here.path().join("a.png")).unwrap();
    let targets = Targets { png: Some(png), pyramid: Some(&mut pyramid), ..Targets::default() };
    let error = Picture::new([3000, 1000]).draw_into(&Failing, targets, &Context::default()).unwrap_err();
    assert!(error.to_string().starts_with("half-way"), "{error}");
    drop(pyramid);
    assert_eq!(count(), 0);
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("mine"), "").unwrap();
    assert!(Pyramid::create(&path, [6, 3]).unwrap_err().to_string().contains("not empty"));
    let mut pyramid = Pyramid::create(&here.path().join("q"), [60_000, 60_000]).unwrap();
    let targets = Targets { pyramid: Some(&mut pyramid), ..Targets::default() };
    let context = Context::default().with_memory(64 << 20);
    let error = Picture::new([60_000, 60_000]).draw_into(&Failing, targets, &context).unwrap_err();
    assert!(matches!(error, Error::Memory { .. }), "{error}");
}
