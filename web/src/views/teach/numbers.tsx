// Every number of a preset, with the bounds and the meaning that the OpenAPI document gives.
import { useState } from "preact/hooks";
import { get } from "../../api/client";
import { number, t } from "../../i18n";
import { Input, Refusal, Select } from "../../parts/form";
import { useLoaded } from "../../parts/load";

interface Schema {
  type?: string;
  enum?: string[];
  description?: string;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  anyOf?: Schema[];
}

interface Document {
  components: { schemas: Record<string, { properties?: Record<string, Schema> }> };
}

/** Fields of the request that are no numbers of a preset. */
const OTHERS = new Set([
  ..."corpus from preset name visibility seed budget sample".split(" "),
  ..."priority after start_before deadline_seconds notify".split(" "),
]);
const NULL = "null";

/** The typed values as fields of a request. What is no number goes as text, and is refused there. */
export function asFields(values: Record<string, string>): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const [name, typed] of Object.entries(values)) {
    const value = typed.trim();
    if (value === "") continue;
    if (value === NULL) fields[name] = null;
    else if (value === "true" || value === "false") fields[name] = value === "true";
    else fields[name] = Number.isFinite(Number(value)) ? Number(value) : value;
  }
  return fields;
}

interface Props {
  values: Record<string, string>;
  onValues(values: Record<string, string>): void;
  preset: Record<string, unknown> | undefined;
  refused: Record<string, string>;
}

export function Numbers(props: Props) {
  const [isOpen, setOpen] = useState(Object.keys(props.values).length > 0);
  const isRefused = Object.keys(props.values).some((name) => name in props.refused);
  return (
    <details open={isOpen || isRefused} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{t("numbers")}</summary>
      {(isOpen || isRefused) && <Grid {...props} />}
    </details>
  );
}

function Grid({ values, onValues, preset, refused }: Props) {
  const document = useLoaded(() => get<Document>("/openapi.json"));
  const properties = document.value?.components.schemas["TrainRequest"]?.properties ?? {};
  return (
    <>
      <Refusal problem={document.problem} />
      <div class="grid">
        {Object.entries(properties)
          .filter(([name]) => !OTHERS.has(name))
          .map(([name, schema]) => {
            const rule = schema.anyOf?.find((each) => each.type !== "null") ?? schema;
            const label = name.replaceAll("_", " ");
            const isNullable = schema.anyOf !== undefined;
            const shown = inWords(preset?.[name]);
            const field = {
              label,
              hint: [schema.description === label ? "" : schema.description, bounds(rule)].filter(Boolean).join(" · "),
              error: refused[name],
              value: values[name] ?? "",
              onValue: (value: string) => {
                const { [name]: _, ...rest } = values;
                onValues(value === "" ? rest : { ...rest, [name]: value });
              },
            };
            const words = rule.enum ?? (rule.type === "boolean" ? ["true", "false"] : undefined);
            if (!words) {
              return (
                <Input
                  key={name}
                  {...field}
                  placeholder={shown}
                  inputMode={isNullable ? "text" : "decimal"}
                />
              );
            }
            const options = words.map((each): [string, string] => [
              each,
              rule.type === "boolean" ? inWords(each === "true") : each,
            ]);
            return (
              <Select key={name} {...field} options={[["", t("presetValue", { value: shown })], ...options]} />
            );
          })}
      </div>
    </>
  );
}

function inWords(value: unknown): string {
  if (value === null) return t("none");
  if (typeof value === "boolean") return t(value ? "yes" : "no");
  return value === undefined ? "" : String(value);
}

function bounds(rule: Schema): string {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = rule;
  const text = (value: number | undefined) => (value === undefined ? "" : number(value, 6));
  if (exclusiveMinimum !== undefined && maximum !== undefined) {
    return t("boundsAbove", { from: text(exclusiveMinimum), to: text(maximum) });
  }
  if (minimum !== undefined && exclusiveMaximum !== undefined) {
    return t("boundsBelow", { from: text(minimum), to: text(exclusiveMaximum) });
  }
  if (minimum === undefined || maximum === undefined) return "";
  return t("bounds", { from: text(minimum), to: text(maximum) });
}
