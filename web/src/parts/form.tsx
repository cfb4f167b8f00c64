// Fields with a label, a hint, and the API's own sentence when the value is refused.
import type { ComponentChildren, JSX } from "preact";
import { useId, useState } from "preact/hooks";
import type { Problem } from "../api/client";
import { t } from "../i18n";

interface FieldProps {
  label: string;
  hint?: string | undefined;
  error?: string | undefined;
  children(props: { id: string; "aria-describedby"?: string; "aria-invalid"?: true }): JSX.Element;
}

export function Field({ label, hint, error, children }: FieldProps) {
  const id = useId();
  const described = [hint && `${id}h`, error && `${id}e`].filter(Boolean).join(" ");
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children({
        id,
        ...(described ? { "aria-describedby": described } : {}),
        ...(error ? { "aria-invalid": true as const } : {}),
      })}
      {hint && (
        <p class="hint" id={`${id}h`}>
          {hint}
        </p>
      )}
      {error && (
        <p class="error" id={`${id}e`} role="alert">
          {error}
        </p>
      )}
    </div>
  );
}

interface InputProps {
  label: string;
  value: string;
  onValue(value: string): void;
  hint?: string | undefined;
  error?: string | undefined;
  inputMode?: "numeric" | "decimal" | "text";
  placeholder?: string;
  secret?: boolean;
}

export function Input({ label, value, onValue, hint, error, secret, ...rest }: InputProps) {
  const always = {
    value,
    autocomplete: "off",
    spellcheck: false,
    onInput: (event: { currentTarget: HTMLInputElement }) => onValue(event.currentTarget.value),
  };
  return (
    <Field label={label} hint={hint} error={error}>
      {(props) =>
        secret ? (
          <input type="password" {...props} {...always} />
        ) : (
          <input type="text" {...props} {...rest} {...always} />
        )
      }
    </Field>
  );
}

interface SelectProps {
  label: string;
  value: string;
  options: [value: string, label: string][];
  onValue(value: string): void;
  hint?: string | undefined;
  error?: string | undefined;
}

export function Select({ label, value, options, onValue, hint, error }: SelectProps) {
  return (
    <Field label={label} hint={hint} error={error}>
      {(props) => (
        <select {...props} value={value} onChange={(event) => onValue(event.currentTarget.value)}>
          {options.map(([each, text]) => (
            <option key={each} value={each} selected={each === value}>
              {text}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

interface CheckProps {
  label: string;
  checked: boolean;
  onChecked(checked: boolean): void;
  hint?: string;
  error?: string | undefined;
}

/** Something that is wanted or not, with its hint and the API's own refusal below. */
export function Check({ label, checked, onChecked, hint, error }: CheckProps) {
  const id = useId();
  return (
    <div class="field">
      <label class="check">
        <input
          type="checkbox"
          checked={checked}
          aria-describedby={[hint && `${id}h`, error && `${id}e`].filter(Boolean).join(" ") || undefined}
          onChange={(event) => onChecked(event.currentTarget.checked)}
        />
        {label}
      </label>
      {hint && (
        <p class="hint" id={`${id}h`}>
          {hint}
        </p>
      )}
      {error && (
        <p class="error" id={`${id}e`} role="alert">
          {error}
        </p>
      )}
    </div>
  );
}

/** What of a problem no field shows. */
export function Refusal({ problem, shown = [] }: { problem?: Problem | undefined; shown?: string[] }) {
  if (!problem || problem.status === 0) return null; // the bar tells that the server is away
  const fields = Object.keys(problem.fields);
  if (fields.length && fields.every((field) => shown.includes(field))) return null;
  return (
    <p class="error" role="alert">
      {problem.message}
    </p>
  );
}

export function Button(
  props: Omit<JSX.IntrinsicElements["button"], "type"> & {
    children: ComponentChildren;
    busy?: boolean;
    kind?: "main" | "plain";
    type?: "button" | "submit";
    disabled?: boolean;
  },
) {
  const { busy, kind = "plain", type = "button", children, ...rest } = props;
  return (
    <button {...rest} type={type} class={kind} aria-busy={busy || undefined} disabled={busy || rest.disabled}>
      {children}
    </button>
  );
}

/** A button for what can't be undone: it asks whether one is sure, and acts when pressed again. */
export function SureButton({ label, name, onSure }: { label: string; name: string; onSure(): void }) {
  const [isArmed, setArmed] = useState(false);
  const press = () => {
    setArmed(!isArmed);
    if (isArmed) onSure();
  };
  return (
    <Button onClick={press} onBlur={() => setArmed(false)} aria-label={`${isArmed ? t("sure") : label} ${name}`}>
      {isArmed ? t("sure") : label}
    </Button>
  );
}

interface ChoiceProps {
  label: string;
  name: string;
  value: string;
  options: [value: string, label: string][];
  onValue(value: string): void;
}

/** One of few, all of them in sight. */
export function Choice({ label, name, value, options, onValue }: ChoiceProps) {
  return (
    <fieldset class="choice">
      <legend class="hidden">{label}</legend>
      {options.map(([each, text]) => (
        <label key={each} class="chip">
          <input type="radio" name={name} value={each} checked={each === value} onChange={() => onValue(each)} />
          <span>{text}</span>
        </label>
      ))}
    </fieldset>
  );
}
