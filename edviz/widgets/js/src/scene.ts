/** The picture: what a frame and a state look like as three.js objects. Knows nothing of models, canvases or time. */

import {
  BufferAttribute,
  BufferGeometry,
  Color,
  CylinderGeometry,
  Data3DTexture,
  type DataTexture,
  DataUtils,
  DoubleSide,
  FrontSide,
  Group,
  HalfFloatType,
  InstancedBufferAttribute,
  InstancedMesh,
  LinearFilter,
  LineLoop,
  LineSegments,
  Matrix3,
  Matrix4,
  Mesh,
  type Object3D,
  type PerspectiveCamera,
  PlaneGeometry,
  Quaternion,
  RedFormat,
  RepeatWrapping,
  Scene,
  type ShaderMaterial,
  Vector3,
} from "three";
import { type Cell, inverse, toCartesian, type Vec3 } from "./cell";
import { type Code, CODES, decode, valueOf } from "./codes";
import { covalentRadius, elementColor } from "./elements";
import type { Lobe } from "./extract";
import { cellEdges, cellOffsets, drawnAtoms, halfBonds, planePolygons } from "./geometry";
import { bindField, colormapTexture, type FieldBinding, lineMaterial, litMaterial, sliceMaterial, sphereMaterial, volumeMaterial } from "./materials";
import type { Frame, Slice } from "./protocol";

/** Atoms are drawn at this part of their covalent radius, so that the density around them stays in sight. */
const ATOM_SCALE = 0.34;
const BOND_RADIUS = 0.11;

export interface FieldScale {
  window: [number, number];
  logarithmic: boolean;
}

/** Three.js colours of a CSS colour, as the display shows them (the shaders do no colour management). */
function displayColor(css: string): Vector3 {
  const c = new Color();
  c.setStyle(css, "");
  return new Vector3(c.r, c.g, c.b);
}

export class Picture {
  readonly scene = new Scene();
  private readonly surfaces = new Group();
  private readonly atoms = new Group();
  private readonly bonds = new Group();
  private readonly edges = new Group();
  private readonly planes = new Group();
  private readonly cloud = new Group();
  private readonly square = new PlaneGeometry(2, 2);
  private readonly cylinder = new CylinderGeometry(1, 1, 1, 16, 1, true);
  private texture: { key: string; field: Data3DTexture; factor: number } | null = null;
  private secondTexture: { key: string; field: Data3DTexture; factor: number } | null = null;
  private colormap: { name: string; texture: DataTexture } | null = null;
  private readonly fractionMatrix = new Matrix3();
  private readonly line = lineMaterial();
  /** Kept from frame to frame: a material that goes takes its compiled program with it. */
  private readonly materials = new Map<string, ShaderMaterial>();
  private volumeSteps = 96;

  constructor(
    private readonly cell: Cell,
    origin: Vec3,
    private readonly numbers: number[],
  ) {
    for (const group of [this.surfaces, this.atoms, this.bonds, this.edges, this.planes, this.cloud]) this.scene.add(group);
    this.scene.position.set(...origin);
    this.scene.updateMatrixWorld(true);
    const inv = inverse(cell);
    // Row i of the matrix gives fraction i: f_i = sum_x r_x inv[x][i].
    this.fractionMatrix.set(inv[0][0], inv[1][0], inv[2][0], inv[0][1], inv[1][1], inv[2][1], inv[0][2], inv[1][2], inv[2][2]);
    this.cylinder.rotateX(Math.PI / 2);
  }

  /** Isosurfaces of the levels, with a colour each. The highest level has the full opacity, those around it less. */
  drawSurfaces(lobes: Lobe[], repeat: Vec3, colors: string[], opacity: number, mapped: FieldBinding | null): number {
    this.empty(this.surfaces);
    const offsets = cellOffsets(repeat);
    const ranked = [...lobes].sort((p, q) => Math.abs(q.level) - Math.abs(p.level));
    let triangles = 0;
    ranked.forEach((lobe, order) => {
      const outer = ranked.some((other) => other.sign === lobe.sign && Math.abs(other.level) > Math.abs(lobe.level));
      const alpha = outer ? opacity * 0.32 : opacity;
      const make = (flat: boolean): ShaderMaterial => {
        const material = this.material(`surface ${order} ${flat} ${mapped !== null}`, () =>
          litMaterial({ flat, shine: flat ? 0.05 : 0.28, mapped: mapped !== null }),
        );
        // The cut through an outer shell must not hide the shells inside it.
        material.uniforms.opacity!.value = flat && outer ? 0.5 * alpha : alpha;
        material.transparent = alpha < 1;
        material.depthWrite = alpha >= 1;
        // Cuts through several shells lie in one plane: the outer ones step back.
        material.polygonOffset = flat && outer;
        material.polygonOffsetFactor = material.polygonOffsetUnits = 1;
        // Caps close the surface: of an opaque one nobody sees the inside.
        material.side = alpha < 1 ? DoubleSide : FrontSide;
        (material.uniforms.color!.value as Vector3).copy(displayColor(colors[lobes.indexOf(lobe)]!));
        if (mapped) {
          bindField(material, mapped);
          (material.uniforms.toFraction!.value as Matrix3).copy(this.fractionMatrix);
        }
        return material;
      };
      const skin = geometry(lobe.positions, lobe.normals, lobe.indices);
      this.place(this.surfaces, skin, make(false), offsets, order);
      triangles += (lobe.indices.length / 3) * offsets.length;
      const { caps, capStart } = lobe;
      if (!caps.indices.length) return;
      const shared = geometry(caps.positions, caps.normals, caps.indices);
      const material = make(true);
      for (let face = 0; face < 6; face++) {
        const [begin, end] = [capStart[face]!, capStart[face + 1]!];
        if (begin === end) continue;
        const axis = face >> 1;
        const side = face & 1 ? repeat[axis]! - 1 : 0;
        const piece = new BufferGeometry();
        for (const name of ["position", "normal"]) piece.setAttribute(name, shared.getAttribute(name));
        piece.setIndex(shared.getIndex());
        piece.setDrawRange(begin, end - begin);
        const there = offsets.filter((offset) => offset[axis] === side);
        this.place(this.surfaces, piece, material, there, order + 0.5);
        triangles += ((end - begin) / 3) * there.length;
      }
    });
    return triangles;
  }

  drawAtoms(frame: Frame, shift: Vec3, repeat: Vec3, atoms: boolean, bonds: boolean): void {
    this.empty(this.atoms);
    this.empty(this.bonds);
    const inv = inverse(this.cell);
    const fractions: Vec3[] = [];
    for (let i = 0; i + 2 < frame.positions.length; i += 3) {
      const r = [frame.positions[i]!, frame.positions[i + 1]!, frame.positions[i + 2]!];
      fractions.push([0, 1, 2].map((x) => r[0]! * inv[0][x]! + r[1]! * inv[1][x]! + r[2]! * inv[2][x]!) as Vec3);
    }
    if (!fractions.length) return;
    const drawn = drawnAtoms(fractions, shift);
    const offsets = cellOffsets(repeat);
    const matrix = new Matrix4();
    if (atoms) {
      const places = offsets.flatMap((offset) =>
        drawn
          // An image on a far face is the next cell's own atom unless this is the last cell.
          .filter(({ f }) => f.every((x, i) => x < 1 - 1e-3 || offset[i] === repeat[i]! - 1))
          .map(({ index, f }) => ({ index, f: f.map((x, i) => x + offset[i]!) })),
      );
      const mesh = this.instances(this.square, this.material("sphere", sphereMaterial), places.map(({ index }) => elementColor(this.numbers[index] ?? 0)));
      places.forEach(({ index, f }, n) => {
        const radius = ATOM_SCALE * covalentRadius(this.numbers[index] ?? 0);
        matrix.makeScale(radius, radius, radius).setPosition(...toCartesian(f, this.cell));
        mesh.setMatrixAt(n, matrix);
      });
      this.atoms.add(mesh);
    }
    if (bonds) {
      const home = fractions.map((f) => drawnAtoms([f], shift)[0]!.f);
      const halves = offsets.flatMap((offset) => halfBonds(home, this.numbers, this.cell).map((half) => ({ ...half, offset })));
      const mesh = this.instances(this.cylinder, this.material("tinted", () => litMaterial({ instanceColors: true, shine: 0.35 })), halves.map(({ index }) => elementColor(this.numbers[index] ?? 0)));
      const zAxis = new Vector3(0, 0, 1);
      const turn = new Quaternion();
      halves.forEach(({ from, to, offset }, n) => {
        const p = new Vector3(...toCartesian(from.map((x, i) => x + offset[i]!), this.cell));
        const q = new Vector3(...toCartesian(to.map((x, i) => x + offset[i]!), this.cell));
        const along = q.clone().sub(p);
        const length = along.length();
        turn.setFromUnitVectors(zAxis, along.normalize());
        matrix.compose(p.add(q).multiplyScalar(0.5), turn, new Vector3(BOND_RADIUS, BOND_RADIUS, length));
        mesh.setMatrixAt(n, matrix);
      });
      this.bonds.add(mesh);
    }
  }

  drawCell(repeat: Vec3, visible: boolean, color: string): void {
    this.empty(this.edges);
    if (!visible) return;
    const points = cellEdges(repeat).flat().flatMap((f) => toCartesian(f, this.cell));
    const lines = new BufferGeometry();
    lines.setAttribute("position", new BufferAttribute(Float32Array.from(points), 3));
    (this.line.uniforms.color!.value as Vector3).copy(displayColor(color));
    this.edges.add(new LineSegments(lines, this.line));
  }

  drawSlices(slices: Slice[], repeat: Vec3, field: FieldBinding | null): void {
    this.empty(this.planes);
    if (!field) return;
    for (const { hkl, position } of slices) {
      for (const polygon of planePolygons(hkl, position, repeat)) {
        const plane = fractional(polygon, this.cell);
        plane.setIndex(polygon.slice(2).flatMap((_, i) => [0, i + 1, i + 2]));
        const material = this.material("slice", sliceMaterial);
        bindField(material, field);
        this.planes.add(new Mesh(plane, material));
        const rim = new BufferGeometry();
        rim.setAttribute("position", plane.getAttribute("position"));
        this.planes.add(new LineLoop(rim, this.line));
      }
    }
  }

  drawVolume(repeat: Vec3, field: FieldBinding | null, strength: number, diverging: boolean, points: number): void {
    this.empty(this.cloud);
    if (!field) return;
    const corners = cellOffsets([2, 2, 2]).map((c) => c.map((x, i) => x * repeat[i]!) as Vec3);
    const box = fractional(corners, this.cell);
    const faces = [0, 1, 3, 0, 3, 2, 4, 6, 7, 4, 7, 5, 0, 4, 5, 0, 5, 1, 2, 3, 7, 2, 7, 6, 0, 2, 6, 0, 6, 4, 1, 5, 7, 1, 7, 3];
    const handed = new Matrix3().copy(this.fractionMatrix).determinant() < 0;
    if (handed) for (let i = 0; i < faces.length; i += 3) [faces[i + 1], faces[i + 2]] = [faces[i + 2]!, faces[i + 1]!];
    box.setIndex(faces);
    const material = this.material("volume", volumeMaterial);
    bindField(material, field);
    (material.uniforms.extent!.value as Vector3).set(...repeat);
    material.uniforms.density!.value = strength;
    material.uniforms.diverging!.value = diverging;
    this.volumeSteps = Math.min(160, 1.5 * points);
    const mesh = new Mesh(box, material);
    mesh.renderOrder = 50;
    this.cloud.add(mesh);
  }

  /** The volume shader works in fractions of the cell: tell it where the camera is. */
  aim(camera: PerspectiveCamera, quick: boolean): void {
    const mesh = this.cloud.children[0] as Mesh | undefined;
    if (!mesh) return;
    const material = mesh.material as ShaderMaterial;
    const eye = material.uniforms.eye!.value as Vector3;
    eye.copy(camera.position).sub(this.scene.position).applyMatrix3(this.fractionMatrix);
    material.uniforms.steps!.value = quick ? Math.min(40, this.volumeSteps) : this.volumeSteps;
  }

  /** The frame's field (or second field) on the graphics card, uploaded once a frame. */
  field(frame: Frame, which: "first" | "second", shift: Vec3, scale: FieldScale, colormap: string): FieldBinding | null {
    const codes = which === "first" ? frame.codes : frame.second;
    const code = which === "first" ? frame.code : frame.code2;
    if (!codes || !code) return null;
    const key = `${frame.sample}:${frame.frame}:${frame.stride}`;
    let slot = which === "first" ? this.texture : this.secondTexture;
    if (slot?.key !== key) {
      slot?.field.dispose();
      const [na, nb, nc] = frame.shape;
      const { halves, factor } = halfPrecision(codes, code);
      const field = new Data3DTexture(halves, nc, nb, na);
      field.format = RedFormat;
      field.type = HalfFloatType;
      field.minFilter = field.magFilter = LinearFilter;
      field.wrapS = field.wrapT = field.wrapR = RepeatWrapping;
      field.unpackAlignment = 2;
      field.needsUpdate = true;
      slot = { key, field, factor };
      if (which === "first") this.texture = slot;
      else this.secondTexture = slot;
    }
    if (this.colormap?.name !== colormap) {
      this.colormap?.texture.dispose();
      this.colormap = { name: colormap, texture: colormapTexture(colormap) };
    }
    const halfPoint = new Vector3(0.5 / frame.shape[0], 0.5 / frame.shape[1], 0.5 / frame.shape[2]);
    return { texture: slot.field, colormap: this.colormap.texture, shift: new Vector3(...shift), halfPoint, logarithmic: scale.logarithmic, window: [scale.window[0] / slot.factor, scale.window[1] / slot.factor] };
  }

  dispose(): void {
    for (const group of [this.surfaces, this.atoms, this.bonds, this.edges, this.planes, this.cloud]) this.empty(group);
    for (const material of this.materials.values()) material.dispose();
    this.line.dispose();
    this.square.dispose();
    this.cylinder.dispose();
    this.texture?.field.dispose();
    this.secondTexture?.field.dispose();
    this.colormap?.texture.dispose();
  }

  private material(name: string, make: () => ShaderMaterial): ShaderMaterial {
    let material = this.materials.get(name);
    if (!material) this.materials.set(name, (material = make()));
    return material;
  }

  private instances(shape: BufferGeometry, material: ShaderMaterial, colors: string[]): InstancedMesh {
    const own = shape.clone();
    const tint = new Float32Array(3 * colors.length);
    const known = new Map<string, Vector3>();
    colors.forEach((css, i) => {
      let c = known.get(css);
      if (!c) known.set(css, (c = displayColor(css)));
      c.toArray(tint, 3 * i);
    });
    own.setAttribute("tint", new InstancedBufferAttribute(tint, 3));
    const mesh = new InstancedMesh(own, material, colors.length);
    mesh.frustumCulled = false;
    return mesh;
  }

  /** A mesh in each of the cells given. */
  private place(group: Group, shape: BufferGeometry, material: ShaderMaterial, offsets: Vec3[], order: number): void {
    const mesh = new InstancedMesh(shape, material, offsets.length);
    const matrix = new Matrix4();
    offsets.forEach((offset, n) => mesh.setMatrixAt(n, matrix.makeTranslation(...toCartesian(offset, this.cell))));
    mesh.frustumCulled = false;
    mesh.renderOrder = order;
    group.add(mesh);
  }

  private empty(group: Group): void {
    for (const child of [...group.children] as (Object3D & Partial<Mesh> & { dispose?: () => void })[]) {
      group.remove(child);
      child.geometry?.dispose();
      child.dispose?.();
    }
  }
}

/** A field in half precision, which is enough for colours and which every graphics card interpolates: values over a factor. */
function halfPrecision(codes: Uint16Array, code: Code): { halves: Uint16Array; factor: number } {
  const factor = Math.max(Math.abs(valueOf(0, code)), Math.abs(valueOf(CODES - 1, code))) / 2 ** 15 || 1;
  const values = decode(codes, code);
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) halves[i] = DataUtils.toHalfFloat(values[i]! / factor);
  return { halves, factor };
}

function geometry(positions: Float32Array, normals: Float32Array, indices: Uint32Array): BufferGeometry {
  const made = new BufferGeometry();
  made.setAttribute("position", new BufferAttribute(positions, 3));
  made.setAttribute("normal", new BufferAttribute(normals, 3));
  made.setIndex(new BufferAttribute(indices, 1));
  return made;
}

/** Points given by fractions of the cell, which the shader gets too. */
function fractional(points: Vec3[], cell: Cell): BufferGeometry {
  const made = new BufferGeometry();
  made.setAttribute("position", new BufferAttribute(Float32Array.from(points.flatMap((f) => toCartesian(f, cell))), 3));
  made.setAttribute("fraction", new BufferAttribute(Float32Array.from(points.flat()), 3));
  return made;
}
