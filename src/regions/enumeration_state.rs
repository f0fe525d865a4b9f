//! Enumerations that go on another day: what was found and what is open, in a file.

use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use crate::data::{NpzEntry, NpzWriter, OutputFile, read_array};
use crate::engine::Context;
use crate::network::{Bend, Map, Network, Stages};
use crate::{Error, Result};

use super::enumeration::{Crossing, Enumeration, Regions};
use super::walk::Source;

impl Enumeration {
    /// Writes all that is known to an `.npz` file, which appears whole or not at all.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(&self, path: &Path) -> Result<()> {
        let (count, words, dimension) = (self.len(), self.words(), self.dimension());
        let entries = [
            NpzEntry::new::<f64>("limits", &[2]),
            NpzEntry::new::<u32>("network", &[2]),
            NpzEntry::new::<u64>("unresolved", &[1]),
            NpzEntry::new::<u32>("code", &[count, words]),
            NpzEntry::new::<f64>("centre", &[count, dimension]),
            NpzEntry::new::<f64>("inradius", &[count]),
            NpzEntry::new::<u32>("open", &[self.open(), 4]),
        ];
        let mut writer = NpzWriter::create(OutputFile::create(path)?, entries)?;
        writer.append("limits", &self.limits())?;
        writer.append("network", &fingerprint(self.stages()))?;
        writer.append("unresolved", &[self.unresolved])?;
        writer.append("code", &self.found.codes)?;
        writer.append("centre", &self.found.centres)?;
        writer.append("inradius", &self.found.radii)?;
        for Crossing { parent, source: Source { stage, unit, piece } } in &self.queue {
            writer.append("open", &[*parent, *stage, *unit, *piece])?;
        }
        writer.finish()
    }

    /// Goes on from such a file.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`Error::File`] for a file that is another network's or another box's, or is no such file.
    pub fn resume(network: &Network, limits: [f64; 2], path: &Path, context: &Context) -> Result<Self> {
        let mut enumeration = Self::empty(network, limits, context)?;
        let read = |name: &str| Ok::<_, Error>(read_array(path, Some(name))?.into_raw_vec_and_offset().0);
        let same = read("limits")? == limits;
        let own = fingerprint(enumeration.stages()).map(f64::from);
        if !same || read("network")? != own {
            return Err(Error::file(path, "holds the regions of another network or box".to_owned()));
        }
        let radii = read("inradius")?;
        let codes: Vec<u32> = read("code")?.into_iter().map(|word| word as u32).collect();
        let found = Regions { count: radii.len(), codes, centres: read("centre")?, radii };
        let open: Vec<[u32; 4]> = read("open")?
            .chunks_exact(4)
            .map(|row| [row[0] as u32, row[1] as u32, row[2] as u32, row[3] as u32])
            .collect();
        let fits = found.count > 0
            && found.codes.len() == found.count * enumeration.words()
            && found.centres.len() == found.count * enumeration.dimension()
            && open.iter().all(|&[parent, stage, unit, piece]| {
                let layer = enumeration.layers().get(stage as usize);
                (parent as usize) < found.count
                    && layer.is_some_and(|layer| {
                        (unit as usize) < layer.units && (piece as usize) < layer.choices
                    })
            });
        if !fits {
            return Err(Error::file(path, "holds arrays that do not belong together".to_owned()));
        }
        let crossing = |[parent, stage, unit, piece]: [u32; 4]| Crossing {
            parent,
            source: Source { stage, unit, piece },
        };
        let unresolved = read("unresolved")?.first().map_or(0, |&n| n as u64);
        enumeration.restore(found, open.into_iter().map(crossing).collect(), unresolved);
        Ok(enumeration)
    }
}

/// What tells networks apart.
fn fingerprint(stages: &Stages) -> [u32; 2] {
    let mut hash = Xxh3::new();
    for target in &stages.targets {
        hash.update(bytemuck::cast_slice(&target.direct));
    }
    for stage in &stages.stages {
        if let Bend::Elementwise(tables) = &stage.bend {
            for table in tables {
                [&table.knots, &table.slopes, &table.offsets]
                    .iter()
                    .for_each(|values| hash.update(bytemuck::cast_slice(values)));
            }
        }
        for (_, map) in &stage.links {
            match map {
                Map::Dense(weights) => hash.update(bytemuck::cast_slice(weights)),
                Map::Sparse { positions, weights, .. } => {
                    hash.update(bytemuck::cast_slice(positions));
                    hash.update(bytemuck::cast_slice(weights));
                }
            }
        }
    }
    let digest = hash.digest();
    [(digest >> 32) as u32, digest as u32]
}
