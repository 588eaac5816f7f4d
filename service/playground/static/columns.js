// A form with a field for each column of a served model: numbers, menus of categories, dates. For a
// model without columns, its features are columns of numbers.

import { formatNumber } from "./network.js";

// Columns with more categories have a field to type in, with suggestions.
const MOST_OPTIONS = 60;
const MOST_SUGGESTIONS = 1000;

const MISSING = "(missing)";

const asColumn = ({ name, min, max }) => ({ name, kind: "number", min, max, mean: (min + max) / 2, mayBeMissing: false });

const asValue = (name, value) => ({ name, ...(value === null ? {} : typeof value === "number" ? { number: value } : { text: value }) });

export class ColumnForm {
  // `changed` is called with the input for Explain, whenever all of its values are valid.
  constructor(root, changed) {
    Object.assign(this, { root, changed, key: "" });
  }

  show({ columns: own, features }) {
    const columns = own.length ? own : features.map(asColumn);
    const key = JSON.stringify([own.length > 0, columns]);
    this.isTable = own.length > 0;
    if (key !== this.key) {
      Object.assign(this, { key, columns });
      this.fields = columns.map((column, at) => FIELDS[column.kind](column, `column-${at}`));
      const form = document.createElement("div");
      form.className = "fields";
      form.append(...columns.map((column, at) => this.#row(column, at)));
      this.root.replaceChildren(form);
    }
    this.#send();
  }

  #row(column, at) {
    const { input, hint, extra } = this.fields[at];
    const label = document.createElement("label");
    const note = document.createElement("small");
    note.className = "note";
    note.id = `column-${at}-note`;
    note.textContent = hint;
    input.setAttribute("aria-describedby", note.id);
    input.addEventListener("input", () => this.#send());
    label.append(column.name, input, ...(extra ?? []), note);
    return label;
  }

  // Calls `changed` if every field has a value that its column can have.
  #send() {
    const values = this.columns.map((column, at) => {
      const { input, read } = this.fields[at];
      const value = read();
      const missing = value === null && !column.mayBeMissing;
      const wrong = Number.isNaN(value) || missing;
      if (wrong) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
      input.setCustomValidity(missing ? "Expected a value: this column may not have gaps." : wrong ? "Expected a number." : "");
      return wrong ? undefined : value;
    });
    clearTimeout(this.waiting);
    if (values.includes(undefined)) return;
    // Typing changes a field many times: the call is made when the keys rest for a moment.
    const input = this.isTable ? { columns: values.map((value, at) => asValue(this.columns[at].name, value)) } : { features: values };
    this.waiting = setTimeout(() => this.changed(input), 60);
  }
}

function makeInput(attributes) {
  const input = document.createElement("input");
  Object.assign(input, attributes);
  return input;
}

const FIELDS = {
  number(column) {
    const { min, max, mean, mayBeMissing } = column;
    const input = makeInput({ type: "number", step: "any", value: Number(Number(mean).toPrecision(4)) });
    return {
      input,
      hint: `${formatNumber(min)} to ${formatNumber(max)} in the data${mayBeMissing ? "; empty: missing" : ""}`,
      // A field with a text that is no number is empty, too, but is marked so.
      read: () => (input.validity.badInput ? NaN : input.value === "" ? null : Number(input.value)),
    };
  },

  category(column, id) {
    const { categories, mayBeMissing } = column;
    const hint = `${categories.length} ${categories.length === 1 ? "category" : "categories"} in training`;
    if (categories.length <= MOST_OPTIONS) {
      const input = document.createElement("select");
      input.append(...categories.map((name) => new Option(name, `=${name}`)), ...(mayBeMissing ? [new Option(MISSING, "")] : []));
      return { input, hint, read: () => (input.value === "" ? null : input.value.slice(1)) };
    }
    const list = document.createElement("datalist");
    list.id = `${id}-list`;
    list.append(...categories.slice(0, MOST_SUGGESTIONS).map((name) => new Option(name)));
    const input = makeInput({ type: "text", value: categories[0] });
    input.setAttribute("list", list.id);
    return { input, hint: `${hint}${mayBeMissing ? "; empty: missing" : ""}`, extra: [list], read: () => (input.value === "" ? null : input.value) };
  },

  date({ mayBeMissing }) {
    const input = makeInput({ type: "datetime-local", step: 1, value: `${new Date().toISOString().slice(0, 10)}T00:00` });
    return { input, hint: `date and time, in UTC${mayBeMissing ? "; empty: missing" : ""}`, read: () => (input.validity.badInput ? NaN : input.value === "" ? null : input.value) };
  },
};
