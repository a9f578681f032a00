/** Shaders of the scene: one lit material for surfaces, atoms and bonds, one for slices, one for the volume. */

import {
  BackSide,
  DataTexture,
  DoubleSide,
  FrontSide,
  LinearFilter,
  Matrix3,
  NoBlending,
  RGBAFormat,
  ShaderMaterial,
  UnsignedByteType,
  Vector2,
  Vector3,
  type Data3DTexture,
  type Texture,
} from "three";
import { lookup } from "./colormaps";

/** The colour map as a texture. Its texels are display colours, so shaders that use it write them unchanged. */
export function colormapTexture(name: string): DataTexture {
  const texture = new DataTexture(lookup(name), 256, 1, RGBAFormat, UnsignedByteType);
  texture.minFilter = LinearFilter;
  texture.magFilter = LinearFilter;
  texture.needsUpdate = true;
  return texture;
}

/** A picture as it is, pixel for pixel. */
export function copyMaterial(picture: Texture): ShaderMaterial {
  return new ShaderMaterial({
    uniforms: { picture: { value: picture } },
    vertexShader: "varying vec2 at; void main() { at = uv; gl_Position = vec4(position.xy, 0.0, 1.0); }",
    fragmentShader: "uniform sampler2D picture; varying vec2 at; void main() { gl_FragColor = texture2D(picture, at); }",
    blending: NoBlending,
    depthTest: false,
    depthWrite: false,
  });
}

/** Lines. Like the other materials it writes display colours, so that they are the same on a canvas and in a texture. */
export function lineMaterial(): ShaderMaterial {
  return new ShaderMaterial({
    uniforms: { color: { value: new Vector3() } },
    vertexShader: "void main() { gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0); }",
    fragmentShader: "uniform vec3 color; void main() { gl_FragColor = vec4(color, 0.85); }",
    transparent: true,
  });
}

const SAMPLING = /* glsl */ `
  uniform highp sampler3D field;
  uniform sampler2D colormap;
  uniform vec3 fieldShift;   // in fractions of the cell: where the field is drawn minus where it is stored
  uniform vec3 halfPoint;    // the centre of the first texel
  uniform vec2 window;
  uniform bool logarithmic;
  // The texture runs c, b, a; a grid point lies in the centre of its texel.
  float sampleField(vec3 f) { return texture(field, (f - fieldShift + halfPoint).zyx).r; }
  float scaled(float value) {
    float x = logarithmic ? log(max(value, 1e-30)) : value;
    return clamp((x - window.x) / (window.y - window.x), 0.0, 1.0);
  }
`;

const LIGHT = /* glsl */ `
  vec3 lit(vec3 color, vec3 n, vec3 p, float shine) {
    vec3 v = normalize(-p);
    vec3 key = normalize(vec3(0.35, 0.55, 0.75));
    vec3 fill = normalize(vec3(-0.7, -0.15, 0.35));
    float d = max(dot(n, key), 0.0);
    float sky = 0.5 + 0.5 * n.y;
    vec3 diffuse = color * (0.42 + 0.2 * sky + 0.5 * d + 0.16 * max(dot(n, fill), 0.0));
    float s = pow(max(dot(n, normalize(key + v)), 0.0), 48.0);
    return diffuse + shine * s;
  }
`;

/** A lit surface. With `mapped` its colour is that of a field at the fragment's place. */
export function litMaterial(options: { flat?: boolean; shine?: number; mapped?: boolean; instanceColors?: boolean }): ShaderMaterial {
  const material = new ShaderMaterial({
    uniforms: {
      color: { value: new Vector3(1, 1, 1) },
      opacity: { value: 1 },
      shine: { value: options.shine ?? 0.3 },
      pale: { value: options.flat && !options.mapped ? 0.3 : 0 },
      flatly: { value: options.flat === true },
      ...(options.mapped ? fieldUniforms() : {}),
    },
    defines: {
      ...(options.mapped ? { MAPPED: 1 } : {}),
      ...(options.instanceColors ? { TINTED: 1 } : {}),
    },
    vertexShader: /* glsl */ `
      varying vec3 vNormal;
      varying vec3 vPosition;
      #ifdef TINTED
        attribute vec3 tint;
        varying vec3 vTint;
      #endif
      #ifdef MAPPED
        uniform mat3 toFraction;
        varying vec3 vFraction;
      #endif
      void main() {
        vec4 p = vec4(position, 1.0);
        vec3 n = normal;
        #ifdef USE_INSTANCING
          p = instanceMatrix * p;
          n = mat3(instanceMatrix) * n;
        #endif
        #ifdef TINTED
          vTint = tint;
        #endif
        #ifdef MAPPED
          vFraction = toFraction * p.xyz;
        #endif
        vec4 view = modelViewMatrix * p;
        vPosition = view.xyz;
        vNormal = normalMatrix * n;
        gl_Position = projectionMatrix * view;
      }`,
    fragmentShader: /* glsl */ `
      uniform vec3 color;
      uniform float opacity;
      uniform float shine;
      uniform float pale;
      uniform bool flatly;
      varying vec3 vNormal;
      varying vec3 vPosition;
      #ifdef TINTED
        varying vec3 vTint;
      #endif
      #ifdef MAPPED
        varying vec3 vFraction;
        ${SAMPLING}
      #endif
      ${LIGHT}
      void main() {
        vec3 n = normalize(vNormal);
        float facing = dot(n, normalize(-vPosition));
        if (facing < 0.0) n = -n;
        #ifdef TINTED
          vec3 base = vTint;
        #elif defined(MAPPED)
          vec3 base = texture2D(colormap, vec2(scaled(sampleField(vFraction)), 0.5)).rgb;
        #else
          vec3 base = color;
        #endif
        base = mix(base, vec3(1.0), pale);
        // A thin film looks denser where it is seen edge on.
        float alpha = opacity >= 1.0 ? 1.0 : mix(opacity, min(1.0, 1.6 * opacity), pow(1.0 - abs(facing), 3.0));
        // Cut faces are flat and read as paper: hardly shaded.
        vec3 shaded = flatly ? base * (0.96 + 0.1 * n.y + 0.05 * n.x) : lit(base, n, vPosition, shine);
        gl_FragColor = vec4(shaded, alpha);
      }`,
    side: FrontSide,
  });
  return material;
}

/**
 * Spheres as one square each, towards the camera: the fragment finds where its line of sight meets the sphere.
 *
 * Round at any size, and two triangles an atom instead of hundreds. An instance's matrix is its radius and centre.
 */
export function sphereMaterial(): ShaderMaterial {
  return new ShaderMaterial({
    uniforms: { shine: { value: 0.35 } },
    vertexShader: /* glsl */ `
      attribute vec3 tint;
      varying vec3 vTint;
      varying vec3 vPosition;
      varying vec4 vSphere;
      void main() {
        vec3 centre = (modelViewMatrix * instanceMatrix * vec4(0.0, 0.0, 0.0, 1.0)).xyz;
        float radius = length(instanceMatrix[0].xyz);
        float distance_ = length(centre);
        vec3 ahead = centre / distance_;
        vec3 right = normalize(cross(ahead, vec3(0.0, 1.0, 0.0)));
        vec3 up = cross(right, ahead);
        // The outline seen in perspective is a little larger than the sphere.
        float sine = min(radius / distance_, 0.9);
        float size = radius / sqrt(1.0 - sine * sine);
        vTint = tint;
        vSphere = vec4(centre, radius);
        vPosition = centre + size * (position.x * right + position.y * up);
        gl_Position = projectionMatrix * vec4(vPosition, 1.0);
      }`,
    fragmentShader: /* glsl */ `
      uniform mat4 projectionMatrix;
      uniform float shine;
      varying vec3 vTint;
      varying vec3 vPosition;
      varying vec4 vSphere;
      ${LIGHT}
      void main() {
        vec3 ray = normalize(vPosition);
        float along = dot(ray, vSphere.xyz);
        float inside = along * along - dot(vSphere.xyz, vSphere.xyz) + vSphere.w * vSphere.w;
        if (inside < 0.0) discard;
        vec3 p = ray * (along - sqrt(inside));
        vec2 clip = vec2(projectionMatrix[2][2] * p.z + projectionMatrix[3][2], -p.z);
        gl_FragDepth = 0.5 + 0.5 * clip.x / clip.y;
        gl_FragColor = vec4(lit(vTint, (p - vSphere.xyz) / vSphere.w, p, shine), 1.0);
      }`,
  });
}

/** Hands each point's fractional coordinates on, for what samples the field. */
const FRACTION_VERTEX = /* glsl */ `
  attribute vec3 fraction;
  varying vec3 vFraction;
  void main() {
    vFraction = fraction;
    gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0);
  }`;

/** A plane coloured by the field on it. */
export function sliceMaterial(): ShaderMaterial {
  return new ShaderMaterial({
    uniforms: { ...fieldUniforms(), opacity: { value: 1 } },
    vertexShader: FRACTION_VERTEX,
    fragmentShader: /* glsl */ `
      varying vec3 vFraction;
      uniform float opacity;
      ${SAMPLING}
      void main() {
        gl_FragColor = vec4(texture2D(colormap, vec2(scaled(sampleField(vFraction)), 0.5)).rgb, opacity);
      }`,
    side: DoubleSide,
  });
}

/** Emission and absorption along each line of sight through the cell, in fractional coordinates. */
export function volumeMaterial(): ShaderMaterial {
  return new ShaderMaterial({
    uniforms: {
      ...fieldUniforms(),
      eye: { value: new Vector3() },
      extent: { value: new Vector3(1, 1, 1) },
      steps: { value: 96 },
      density: { value: 1 },
      diverging: { value: false },
    },
    vertexShader: FRACTION_VERTEX,
    fragmentShader: /* glsl */ `
      varying vec3 vFraction;
      uniform vec3 eye;
      uniform vec3 extent;
      uniform float steps;
      uniform float density;
      uniform bool diverging;
      ${SAMPLING}
      void main() {
        vec3 ray = vFraction - eye;
        vec3 inverse = 1.0 / (ray + vec3(equal(ray, vec3(0.0))) * 1e-9);
        vec3 near = min(-eye * inverse, (extent - eye) * inverse);
        float start = max(max(near.x, max(near.y, near.z)), 0.0);
        float length_ = 1.0 - start;
        if (length_ <= 0.0) discard;
        float path = length(ray) * length_;
        float n = clamp(ceil(steps * path), 2.0, 512.0);
        // Start each pixel's ray at its own place within the first step: grain instead of rings.
        float jitter = fract(sin(dot(gl_FragCoord.xy, vec2(12.9898, 78.233))) * 43758.5453);
        vec4 sum = vec4(0.0);
        float dt = path / n;
        for (float i = 0.0; i < 512.0; i += 1.0) {
          if (i >= n || sum.a > 0.985) break;
          float t = start + length_ * (i + jitter) / n;
          float x = scaled(sampleField(eye + t * ray));
          float strength = diverging ? abs(2.0 * x - 1.0) : x;
          float alpha = 1.0 - exp(-density * 14.0 * strength * strength * strength * dt);
          sum += (1.0 - sum.a) * vec4(texture2D(colormap, vec2(x, 0.5)).rgb, 1.0) * vec4(vec3(alpha), alpha);
        }
        gl_FragColor = vec4(sum.rgb / max(sum.a, 1e-4), sum.a);
      }`,
    side: BackSide,
    transparent: true,
    depthWrite: false,
  });
}

export interface FieldBinding {
  texture: Data3DTexture;
  colormap: DataTexture;
  shift: Vector3;
  halfPoint: Vector3;
  /** In units of what the texture holds. */
  window: [number, number];
  logarithmic: boolean;
}

function fieldUniforms(): Record<string, { value: unknown }> {
  return {
    field: { value: null },
    colormap: { value: null },
    fieldShift: { value: new Vector3() },
    halfPoint: { value: new Vector3() },
    window: { value: new Vector2(0, 1) },
    logarithmic: { value: false },
    toFraction: { value: new Matrix3() },
  };
}

/** Point a material at a field. */
export function bindField(material: ShaderMaterial, field: FieldBinding): void {
  const u = material.uniforms;
  u.field!.value = field.texture;
  u.colormap!.value = field.colormap;
  (u.fieldShift!.value as Vector3).copy(field.shift);
  (u.halfPoint!.value as Vector3).copy(field.halfPoint);
  const [low, high] = field.window;
  (u.window!.value as Vector2).set(field.logarithmic ? Math.log(low) : low, field.logarithmic ? Math.log(high) : high);
  u.logarithmic!.value = field.logarithmic;
}
