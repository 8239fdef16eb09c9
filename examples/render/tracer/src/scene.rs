//! What is rendered: camera, sky, lamps, surfaces; read from text (the format is described in `README.md`).

use crate::build::Primitive;
use crate::bvh::Bvh;
use crate::light::Light;
use crate::material::{Kind, Material};
use crate::math::{V3, sincos_turns, v3};
use crate::shapes::{self, Knot};
use crate::text::{Line, SceneError};
use crate::texture::Texture;

/// A scene ready to be rendered.
pub struct Scene {
    /// The eye.
    pub camera: Camera,
    /// The light of the surroundings.
    pub sky: Sky,
    /// Lamps that are sampled.
    pub lights: Vec<Light>,
    /// Materials by number.
    pub materials: Vec<Material>,
    /// All finite surfaces.
    pub bvh: Bvh,
    /// Shape data for every primitive.
    pub surfaces: Vec<Surface>,
    /// The infinite ground: height and material.
    pub ground: Option<(f32, u16)>,
    /// Multiplies the radiance before tone mapping.
    pub exposure: f32,
    /// Seeds all random numbers.
    pub seed: u32,
}

/// A thin-lens camera.
#[derive(Clone, Copy)]
pub struct Camera {
    /// The middle of the lens.
    pub from: V3,
    /// Unit vectors to the right, up, and forward.
    pub frame: [V3; 3],
    /// Half the picture's height at distance one.
    pub half_height: f32,
    /// Radius of the lens.
    pub lens: f32,
    /// Distance of the plane in focus.
    pub focus: f32,
}

/// A vertical gradient.
#[derive(Clone, Copy, Default)]
pub struct Sky {
    /// Radiance straight up.
    pub zenith: V3,
    /// Radiance at the horizon.
    pub horizon: V3,
    /// Radiance below it.
    pub ground: V3,
}

impl Sky {
    /// Radiance from direction `d`.
    pub fn radiance(&self, d: V3) -> V3 {
        if d.y < 0.0 {
            return self.horizon.lerp(self.ground, crate::math::min(-d.y * 6.0, 1.0));
        }
        let t = 1.0 - d.y;
        let t2 = t * t;
        self.zenith.lerp(self.horizon, t2 * t2)
    }
}

/// What a primitive needs when it is hit.
#[derive(Clone, Copy)]
pub struct Surface {
    /// Number of its material.
    pub material: u16,
    /// Number of the lamp it is, or [`NO_LIGHT`].
    pub light: u16,
    /// Shading normals at the corners, or the centre of a sphere in the first.
    pub normals: [V3; 3],
    /// Unit normal of a triangle's plane; zero for a sphere.
    pub plane: V3,
}

/// Marks a surface that is no lamp.
pub const NO_LIGHT: u16 = u16::MAX;
/// More primitives than any scene worth a task's start-up time.
const MAX_PRIMITIVES: usize = 2_000_000;

#[derive(Default)]
struct Reader {
    camera: Option<Camera>,
    sky: Sky,
    lights: Vec<Light>,
    names: Vec<String>,
    materials: Vec<Material>,
    primitives: Vec<Primitive>,
    surfaces: Vec<Surface>,
    ground: Option<(f32, u16)>,
    exposure: f32,
    seed: u32,
    /// Circles on the ground that scattered balls keep away from.
    taken: Vec<[f32; 3]>,
}

impl Scene {
    /// Reads a scene.
    pub fn parse(text: &str) -> Result<Self, SceneError> {
        let mut r = Reader { exposure: 1.0, ..Reader::default() };
        for mut line in Line::all(text)? {
            match line.keyword {
                "camera" => r.camera = Some(camera(&mut line)?),
                "sky" => r.sky(&mut line)?,
                "sun" => r.sun(&mut line)?,
                "exposure" => r.exposure = line.positive("value")?,
                "seed" => r.seed = line.count("value", u32::MAX)?,
                "material" => r.material(&mut line)?,
                "ground" => r.ground = Some((line.number_or("y", 0.0)?, r.material_of(&mut line)?)),
                "sphere" => r.sphere(&mut line)?,
                "quad" => r.quad(&mut line)?,
                "box" => r.cuboid(&mut line)?,
                "triangle" => r.triangle(&mut line)?,
                "knot" => r.knot(&mut line)?,
                "flake" => r.flake(&mut line)?,
                "scatter" => r.scatter(&mut line)?,
                other => {
                    let known = "camera, sky, sun, exposure, seed, material, ground, sphere, quad, box, triangle, knot, flake, scatter";
                    return Err(line.error(format!("`{other}` is not known; known are {known}")));
                }
            }
            if r.primitives.len() > MAX_PRIMITIVES {
                return Err(line.error(format!("the scene passes {MAX_PRIMITIVES} primitives")));
            }
            line.finish()?;
        }
        let missing = |what: &str| SceneError { line: 0, message: format!("there is no `{what}` line") };
        Ok(Self {
            camera: r.camera.ok_or_else(|| missing("camera"))?,
            sky: r.sky,
            lights: r.lights,
            materials: r.materials,
            bvh: Bvh::new(&r.primitives),
            surfaces: r.surfaces,
            ground: r.ground,
            exposure: r.exposure,
            seed: r.seed,
        })
    }
}

fn camera(line: &mut Line) -> Result<Camera, SceneError> {
    let (from, to) = (line.vector("from")?, line.vector("to")?);
    let forward = (to - from).unit();
    let right = forward.cross(v3(0.0, 1.0, 0.0)).unit();
    if right == V3::ZERO {
        return Err(line.error("`from` and `to` should not lie above one another"));
    }
    let degrees = line.positive("fov")?;
    if degrees >= 170.0 {
        return Err(line.error(format!("`fov={degrees}` should be below 170 degrees")));
    }
    let (s, c) = sincos_turns(degrees / 720.0);
    let lens = line.number_or("lens", 0.0)?;
    let focus = line.number_or("focus", (to - from).length())?;
    Ok(Camera { from, frame: [right, right.cross(forward), forward], half_height: s / c, lens, focus })
}

impl Reader {
    fn sky(&mut self, line: &mut Line) -> Result<(), SceneError> {
        let zenith = line.vector("zenith")?;
        let horizon = line.vector_or("horizon", zenith)?;
        self.sky = Sky { zenith, horizon, ground: line.vector_or("ground", horizon)? };
        Ok(())
    }

    fn sun(&mut self, line: &mut Line) -> Result<(), SceneError> {
        let dir = line.vector("dir")?.unit();
        let (_, cos) = sincos_turns(line.positive("radius")? / 360.0);
        let light = Light::Sun { dir, cos_max: cos, radiance: line.vector("radiance")? };
        self.add_light(line, light).map(drop)
    }

    fn add_light(&mut self, line: &Line, light: Light) -> Result<u16, SceneError> {
        if self.lights.len() >= 1000 {
            return Err(line.error("a scene holds at most 1000 lamps"));
        }
        self.lights.push(light);
        Ok((self.lights.len() - 1) as u16)
    }

    fn material(&mut self, line: &mut Line) -> Result<(), SceneError> {
        let name = line.word("a name and a kind")?.to_owned();
        let kind = match line.word("a kind")? {
            "diffuse" => Kind::Diffuse,
            "coat" => Kind::Coat,
            "metal" => Kind::Metal,
            "glass" => Kind::Glass,
            "light" => Kind::Light,
            other => {
                let known = "diffuse, coat, metal, glass, light";
                return Err(line.error(format!("`{other}` is no kind of material; known are {known}")));
            }
        };
        let color = line.vector("color")?;
        let second = line.vector_or("second", color)?;
        let texture = match line.optional("texture") {
            None => Texture::Plain,
            Some("checker") => Texture::Checker(line.positive("scale")?),
            Some("planks") => Texture::Planks(line.positive("scale")?),
            Some("marble") => Texture::Marble(line.positive("scale")?),
            Some(other) => {
                return Err(line.error(format!("`texture={other}` should be checker, planks or marble")));
            }
        };
        let roughness = line.number_or("roughness", 0.3)?;
        if !(0.0..=1.0).contains(&roughness) {
            return Err(line.error(format!("`roughness={roughness}` should be from 0 to 1")));
        }
        if self.names.contains(&name) || self.names.len() >= 1000 {
            return Err(line.error(format!("material `{name}` is there already, or is one beyond 1000")));
        }
        self.names.push(name);
        self.materials.push(Material { kind, color, second, texture, roughness });
        Ok(())
    }

    fn material_named(&self, line: &Line, name: &str) -> Result<u16, SceneError> {
        let at = self.names.iter().position(|n| n == name);
        at.map(|i| i as u16).ok_or_else(|| line.error(format!("no line above defines the material `{name}`")))
    }

    fn material_of(&self, line: &mut Line) -> Result<u16, SceneError> {
        let name = line.text("material")?;
        self.material_named(line, name)
    }

    fn is_light(&self, material: u16) -> Option<V3> {
        let m = &self.materials[material as usize];
        (m.kind == Kind::Light).then_some(m.color)
    }

    fn add_sphere(&mut self, line: &Line, center: V3, radius: f32, material: u16) -> Result<(), SceneError> {
        let light = match self.is_light(material) {
            Some(radiance) => self.add_light(line, Light::Sphere { center, radius, radiance })?,
            None => NO_LIGHT,
        };
        self.primitives.push(Primitive::Sphere { center, radius });
        self.surfaces.push(Surface { material, light, normals: [center; 3], plane: V3::ZERO });
        Ok(())
    }

    fn add_triangle(&mut self, corners: [V3; 3], normals: Option<[V3; 3]>, material: u16, light: u16) {
        let [a, b, c] = corners;
        let plane = (b - a).cross(c - a).unit();
        self.primitives.push(Primitive::Triangle { a, b, c });
        self.surfaces.push(Surface { material, light, normals: normals.unwrap_or([plane; 3]), plane });
    }

    fn sphere(&mut self, line: &mut Line) -> Result<(), SceneError> {
        let (at, r, material) = (line.vector("at")?, line.positive("r")?, self.material_of(line)?);
        self.taken.push([at.x, at.z, r]);
        self.add_sphere(line, at, r, material)
    }

    fn quad(&mut self, line: &mut Line) -> Result<(), SceneError> {
        let (corner, u, v) = (line.vector("at")?, line.vector("u")?, line.vector("v")?);
        let material = self.material_of(line)?;
        let cross = u.cross(v);
        let (area, normal) = (cross.length(), cross.unit());
        if area <= 0.0 {
            return Err(line.error("`u` and `v` should span an area"));
        }
        let light = match self.is_light(material) {
            Some(radiance) => self.add_light(line, Light::Quad { corner, u, v, normal, area, radiance })?,
            None => NO_LIGHT,
        };
        let p = [corner, corner + u, corner + u + v, corner + v];
        self.add_triangle([p[0], p[1], p[2]], None, material, light);
        self.add_triangle([p[0], p[2], p[3]], None, material, light);
        Ok(())
    }

    fn cuboid(&mut self, line: &mut Line) -> Result<(), SceneError> {
        let (at, size) = (line.vector("at")?, line.vector("size")?);
        let turns = line.number_or("turn", 0.0)? / 360.0;
        let material = self.material_of(line)?;
        self.taken.push([at.x, at.z, 0.71 * size.x.max(size.z)]);
        for [a, b, c, d] in shapes::cuboid(at, size, turns) {
            self.add_triangle([a, b, c], None, material, NO_LIGHT);
            self.add_triangle([a, c, d], None, material, NO_LIGHT);
        }
        Ok(())
    }

    fn triangle(&mut self, line: &mut Line) -> Result<(), SceneError> {
        let corners = [line.vector("a")?, line.vector("b")?, line.vector("c")?];
        let material = self.material_of(line)?;
        self.add_triangle(corners, None, material, NO_LIGHT);
        Ok(())
    }

    fn knot(&mut self, line: &mut Line) -> Result<(), SceneError> {
        let knot = Knot {
            at: line.vector("at")?,
            p: line.count("p", 50)?,
            q: line.count("q", 50)?,
            radius: line.positive("radius")?,
            swing: line.positive("swing")?,
            tube: line.positive("tube")?,
            segments: line.count("segments", 5000)?,
            sides: line.count("sides", 200)?,
            tilt: line.number_or("tilt", 0.0)? / 360.0,
        };
        let material = self.material_of(line)?;
        let (at, mesh) = (knot.at, knot.mesh());
        self.taken.push([at.x, at.z, shapes::knot_reach(&knot)]);
        for f in mesh.faces {
            let f = f.map(|i| i as usize);
            self.add_triangle(f.map(|i| mesh.points[i]), Some(f.map(|i| mesh.normals[i])), material, NO_LIGHT);
        }
        Ok(())
    }

    fn flake(&mut self, line: &mut Line) -> Result<(), SceneError> {
        let (at, r) = (line.vector("at")?, line.positive("r")?);
        let levels = line.count("levels", 6)?;
        let axis = line.vector_or("axis", v3(0.0, 1.0, 0.0))?.unit();
        let material = self.material_of(line)?;
        let mut balls = Vec::new();
        shapes::flake(at, r, axis, levels, &mut balls);
        self.taken.push([at.x, at.z, r * 2.0]);
        for ball in balls {
            if let Primitive::Sphere { center, radius } = ball {
                self.add_sphere(line, center, radius, material)?;
            }
        }
        Ok(())
    }

    fn scatter(&mut self, line: &mut Line) -> Result<(), SceneError> {
        let seed = line.count("seed", u32::MAX)?;
        let count = line.count("count", 100_000)?;
        let (area, radii) = (line.numbers("area")?, line.numbers("r")?);
        let names = line.text("materials")?;
        let materials = names.split(',').map(|n| self.material_named(line, n)).collect::<Result<Vec<_>, _>>()?;
        let mut taken = std::mem::take(&mut self.taken);
        let balls = shapes::scatter(seed, count, area, radii, &mut taken);
        self.taken = taken;
        for (i, (center, radius)) in balls.into_iter().enumerate() {
            let pick = crate::sampler::hash(seed ^ crate::sampler::hash(i as u32)) as usize % materials.len();
            self.add_sphere(line, center, radius, materials[pick])?;
        }
        Ok(())
    }
}
