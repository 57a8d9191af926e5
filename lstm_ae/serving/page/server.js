// Requests to the server. NaN and Infinity, which JSON does not have, are sent as these words.

export async function models() {
  const { tags } = await read(await fetch("openapi.json"));
  return tags.map(({ name, description: version }) => ({
    name,
    version,
    path: `/v1/models/${encodeURIComponent(name)}/versions/${version}`,
  }));
}

export async function signatures(path) {
  const { metadata } = await read(await fetch(path.slice(1) + "/metadata"));
  const listed = Object.entries(metadata.signature_def.signature_def);
  // Signatures of this prefix initialize the model; clients do not call them.
  const called = listed.filter(([name]) => !name.startsWith("__saved_model_"));
  return called.map(([name, { inputs, outputs }]) => ({ name, inputs: tensors(inputs), outputs: tensors(outputs) }));
}

function tensors(infos) {
  const sorted = Object.entries(infos).sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted.map(([name, { dtype, tensor_shape: shape }]) => ({
    name,
    kind: dtype.replace("DT_", "").toLowerCase(),
    // null stands for a variable size or an unknown shape.
    shape: shape.unknown_rank ? null : shape.dim.map(({ size }) => (Number(size) < 0 ? null : Number(size))),
  }));
}

// Return the outputs by name for inputs by name; throws the server's error message.
export async function predict(path, signature, inputs) {
  const written = signature.inputs.map(({ name }) => `${JSON.stringify(name)}: ${write(inputs[name])}`);
  const body = `{"signature_name": ${JSON.stringify(signature.name)}, "inputs": {${written.join(", ")}}}`;
  const { outputs } = await read(await fetch(`${path.slice(1)}:predict`, { method: "POST", body }));
  return signature.outputs.length > 1 ? outputs : { [signature.outputs[0].name]: outputs };
}

async function read(answer) {
  const content = parse(await answer.text());
  if (!answer.ok) throw new Error(content.error);
  return content;
}

// Parse JSON that may contain NaN and Infinity.
export function parse(text) {
  const numbers = { NaN: null, Infinity: "1e999", "-Infinity": "-1e999" };
  return JSON.parse(
    text.replace(/"(?:[^"\\]|\\.)*"|-?Infinity|NaN/g, (word) => (word in numbers ? numbers[word] : word)),
  );
}

function write(value) {
  if (Array.isArray(value)) return `[${value.map(write).join(",")}]`;
  if (typeof value !== "number") return value === null ? "NaN" : JSON.stringify(value);
  return String(value);
}
