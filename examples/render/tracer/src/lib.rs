//! A path tracer whose picture depends on nothing but the scene, the size and the number of samples.
//!
//! Any rows can be rendered by anyone: the bits of a pixel are the same in every tiling, so that two strangers'
//! results can be compared byte by byte.

pub mod build;
pub mod bvh;
pub mod light;
pub mod material;
pub mod math;
pub mod path;
pub mod sampler;
pub mod scene;
pub mod shapes;
pub mod text;
pub mod texture;
pub mod tile;

use std::ops::Range;

use bvh::{Ray, Stack};
use math::{V3, max, v3};
use sampler::Sampler;
pub use scene::Scene;
pub use text::SceneError;

/// What to render of which picture.
#[derive(Clone, Debug)]
pub struct Job {
    /// Width of the whole picture in pixels.
    pub width: u32,
    /// Height of the whole picture in pixels.
    pub height: u32,
    /// The rows to render, from the top.
    pub rows: Range<u32>,
    /// Paths per pixel; powers of two are spread best.
    pub samples: u32,
}

/// Renders some rows of the scene in `scene_text` into a tile (its format is described in [`tile`]).
pub fn render_rows(
    scene_text: &str,
    width: u32,
    height: u32,
    rows: Range<u32>,
    samples: u32,
) -> Result<Vec<u8>, SceneError> {
    let scene = Scene::parse(scene_text)?;
    Ok(render(&scene, &Job { width, height, rows, samples }))
}

/// Renders a tile of a scene that was read before.
pub fn render(scene: &Scene, job: &Job) -> Vec<u8> {
    let mut out = tile::header(job);
    let mut stack = Stack::default();
    for y in job.rows.clone() {
        for x in 0..job.width {
            out.extend_from_slice(&pixel(scene, job, (x, y), &mut stack).encode());
        }
    }
    out
}

fn pixel(scene: &Scene, job: &Job, (x, y): (u32, u32), stack: &mut Stack) -> tile::Pixel {
    let (mut color, mut albedo, mut normal) = (V3::ZERO, V3::ZERO, V3::ZERO);
    let (mut mean, mut spread) = (0.0_f32, 0.0_f32);
    for i in 0..job.samples {
        let mut sampler = Sampler::new(scene.seed, x, y, i);
        let ray = eye_ray(scene, job, x, y, &mut sampler);
        let sample = path::trace(scene, ray, &mut sampler, stack);
        if !sample.color.is_finite() {
            continue;
        }
        color += sample.color;
        albedo += sample.albedo;
        normal += sample.normal;
        // Welford's running variance.
        let l = sample.color.luminance();
        let delta = l - mean;
        mean += delta / (i + 1) as f32;
        spread += delta * (l - mean);
    }
    let n = job.samples as f32;
    let variance = spread / max(n - 1.0, 1.0) / n;
    let exposure = scene.exposure;
    tile::Pixel {
        color: color * (exposure / n),
        albedo: albedo / n,
        normal: normal / n,
        variance: variance * exposure * exposure,
    }
}

/// A ray through pixel (`x`, `y`), spread by a tent of one pixel and by the lens.
fn eye_ray(scene: &Scene, job: &Job, x: u32, y: u32, sampler: &mut Sampler) -> Ray {
    let camera = &scene.camera;
    let jitter = sampler.next_2d().map(|u| if u < 0.5 { (2.0 * u).sqrt() - 1.0 } else { 1.0 - (2.0 - 2.0 * u).sqrt() });
    let (w, h) = (job.width as f32, job.height as f32);
    let px = (x as f32 + 0.5 + 0.75 * jitter[0] - w * 0.5) * 2.0 / h;
    let py = (h * 0.5 - y as f32 - 0.5 - 0.75 * jitter[1]) * 2.0 / h;
    let [right, up, forward] = camera.frame;
    let target = v3(px * camera.half_height, py * camera.half_height, 1.0) * camera.focus;
    let lens = material::disk(sampler.next_2d()).map(|c| c * camera.lens);
    let local = target - v3(lens[0], lens[1], 0.0);
    let dir = (right * local.x + up * local.y + forward * local.z).unit();
    Ray { origin: camera.from + right * lens[0] + up * lens[1], dir, t_max: f32::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCENE: &str = "camera from=0,1,4 to=0,0.5,0 fov=40\nsky zenith=0.5,0.6,0.9 horizon=1,1,1\n\
        material lamp light color=8,7,6\nmaterial red coat color=0.7,0.1,0.1\nmaterial clear glass color=0.9,1,0.9\n\
        ground material=red\nquad at=-1,3,-1 u=2,0,0 v=0,0,2 material=lamp\nsphere at=0,0.5,0 r=0.5 material=clear\n\
        knot at=1,0.5,-1 p=2 q=3 radius=0.3 swing=0.1 tube=0.05 segments=60 sides=8 material=red";

    /// The pixels of a picture do not depend on how it is cut into tiles.
    #[test]
    fn tiles_are_the_picture() {
        let whole = render_rows(SCENE, 32, 18, 0..18, 4).unwrap();
        let skip = |rows: Range<u32>| tile::header(&Job { width: 32, height: 18, rows, samples: 4 }).len();
        let mut parts = Vec::new();
        for rows in [0..7, 7..8, 8..18] {
            parts.extend_from_slice(&render_rows(SCENE, 32, 18, rows.clone(), 4).unwrap()[skip(rows)..]);
        }
        assert_eq!(whole[skip(0..18)..], parts);
    }

    #[test]
    fn a_bad_scene_says_where() {
        for (text, want) in [
            ("camera from=0,0,0 to=0,0,1 fov=40\nsphere at=0,0,0 r=1 material=x", "scene, line 2: no line above"),
            ("sky zenith=1,1", "scene, line 1: `zenith=1,1` should be 3 numbers"),
            ("\nball", "scene, line 2: `ball` is not known"),
            ("sky zenith=1,1,1 colour=2", "scene, line 1: `sky` has no field `colour`"),
            ("", "scene: there is no `camera` line"),
        ] {
            let error = render_rows(text, 1, 1, 0..1, 1).unwrap_err().to_string();
            assert!(error.starts_with(want), "{error:?} should start with {want:?}");
        }
    }
}
