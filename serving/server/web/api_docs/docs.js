// Shows the OpenAPI document of this server. Everything becomes text, nothing markup.

const METHODS = ["get", "post", "put", "delete"];

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// What `$ref` stands for; the name of a schema is kept beside it.
function resolved(whole, part) {
  if (!part?.$ref) return part;
  const found = part.$ref.slice(2).split("/").reduce((inside, key) => inside[key], whole);
  return resolved(whole, found);
}

function typeOf(whole, schema) {
  if (!schema) return "";
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.oneOf) return schema.oneOf.map((one) => typeOf(whole, one)).join(" or ");
  if (schema.$ref) {
    const found = resolved(whole, schema);
    return found.properties ? schema.$ref.split("/").pop() : typeOf(whole, found);
  }
  if (schema.type === "array") return `list of ${typeOf(whole, schema.items) || "anything"}`;
  if (schema.format === "binary") return "bytes";
  const limits = [];
  if (schema.minimum !== undefined) limits.push(`from ${schema.minimum}`);
  if (schema.maximum !== undefined) limits.push(`to ${schema.maximum}`);
  const kind = [schema.type ?? "anything"].flat().join(" or ");
  return [kind, ...limits].join(" ");
}

function table(caption, head, rows) {
  const top = element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)));
  const lines = rows.map(([first, ...rest]) =>
    element("tr", {}, element("th", { scope: "row" }, element("code", {}, first)), ...rest.map((cell) => element("td", {}, cell))));
  const made = element("table", {}, element("thead", {}, top), element("tbody", {}, ...lines));
  made.setAttribute("aria-label", caption);
  return element("div", { className: "wide" }, made);
}

function properties(whole, schema, seen = new Set()) {
  const found = resolved(whole, schema);
  const inner = found?.type === "array" ? resolved(whole, found.items) : found;
  if (inner?.oneOf) return inner.oneOf.map((one) => properties(whole, one, seen)).filter(Boolean)[0] ?? null;
  if (!inner?.properties || seen.has(inner)) return null;
  seen.add(inner);
  const rows = Object.entries(inner.properties).map(([name, value]) => [
    name, typeOf(whole, value), value.description ?? resolved(whole, value)?.description ?? ""]);
  return table("Fields", ["field", "type", "what it is"], rows);
}

function contents(whole, content) {
  return Object.entries(content ?? {}).flatMap(([type, { schema }]) => [
    element("p", { className: "soft" }, element("code", {}, type), ` ${typeOf(whole, schema)}`),
    properties(whole, schema)]);
}

// A command that asks for the route, to be completed where it has {…}.
function example(method, path, parameters, body) {
  const wanted = parameters.filter((one) => one.in === "query" && one.required).map((one) => `${one.name}=…`);
  const address = `'${location.origin}${path}${wanted.length ? `?${wanted.join("&")}` : ""}'`;
  if (!body) return `curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}${address}`;
  if (body.content["multipart/form-data"]) return `curl -F file=@one.png -F file=@two.png ${address}`;
  return `curl -d '{…}' ${address}`;
}

function operation(whole, path, method, found, shared) {
  const parameters = [...shared, ...(found.parameters ?? [])].map((one) => resolved(whole, one));
  const inside = element("div");
  if (found.description) inside.append(element("p", {}, found.description));
  const open = found.security?.length === 0;
  inside.append(element("p", { className: "soft" },
    open ? "Needs no token." : found.security?.[0]?.adminToken ? "Wants the admin token, if the server has one." : "Wants the token, if the server has one."));
  if (parameters.length) {
    const rows = parameters.map((one) => [one.name, `${one.in}${one.required ? "" : ", optional"}`, typeOf(whole, one.schema),
      [one.description ?? "", one.schema.default === undefined ? "" : `Default: ${one.schema.default}.`].join(" ")]);
    inside.append(element("h4", {}, "Parameters"), table("Parameters", ["name", "where", "type", "what it is"], rows));
  }
  const body = resolved(whole, found.requestBody);
  if (body) {
    inside.append(element("h4", {}, "Body"), element("p", {}, body.description ?? ""));
    inside.append(...contents(whole, body.content).filter(Boolean));
  }
  inside.append(element("h4", {}, "Answers"));
  const answers = Object.entries(found.responses).map(([status, one]) => [status, resolved(whole, one).description]);
  inside.append(table("Answers", ["status", "when"], answers));
  const good = resolved(whole, Object.entries(found.responses).find(([status]) => status.startsWith("2"))[1]);
  inside.append(...contents(whole, good.content).filter(Boolean));
  inside.append(element("h4", {}, "With curl"), element("pre", {}, example(method, path, parameters, body)));
  const title = element("h3", {}, element("span", { className: "method" }, method.toUpperCase()), " ",
    element("code", {}, path), found.summary);
  return element("details", { id: found.operationId }, element("summary", {}, title), inside);
}

function show(whole) {
  document.getElementById("about").textContent = `igan-zoo ${whole.info.version}. ${whole.info.description}`;
  const groups = new Map(whole.tags.map((tag) => [tag.name, element("section", { id: tag.name.toLowerCase().replaceAll(" ", "-") },
    element("h2", {}, tag.name), tag.description ? element("p", {}, tag.description) : null)]));
  for (const [path, item] of Object.entries(whole.paths)) {
    for (const method of METHODS.filter((name) => item[name])) {
      groups.get(item[method].tags[0]).append(operation(whole, path, method, item[method], item.parameters ?? []));
    }
  }
  document.getElementById("routes").replaceChildren(...groups.values());
  document.getElementById("contents").replaceChildren(...[...groups].map(([name, group]) => element("a", { href: `#${group.id}` }, name)));
  const chosen = document.getElementById(location.hash.slice(1));
  if (chosen) {
    chosen.open = true;
    chosen.scrollIntoView();
  }
}

try {
  const answer = await fetch("openapi.json");
  if (!answer.ok) throw new Error(`the server says ${answer.status}`);
  show(await answer.json());
} catch (error) {
  const state = document.getElementById("state");
  if (state) {
    state.className = "wrong";
    state.textContent = `The document cannot be read: ${error.message}.`;
  } else throw error;
}
