// Block Kit on the page: each block by its own small component, and nothing ever left out silently.
import { Component, useContext, useId, useState, type ReactNode } from "react";
import { Element } from "./elements";
import { Mrkdwn, NamesContext, Text, words } from "./mrkdwn";
import { LIBRARY_BLOCKS, ReadOnly } from "./readonly";
import { SurfaceContext } from "./surface";
import { DataTable, Table } from "./table";
import type { Block, BlockElement, Open, TextObject } from "./types";
import { t } from "./texts";

const SPOKEN = ["text", "title", "subtitle", "body", "label", "caption", "description", "alt_text", "name", "url"];

/** Every word a block would show, in order, for a block that nothing here can draw. */
export function spokenText(node: unknown): string[] {
  if (Array.isArray(node)) return node.flatMap(spokenText);
  if (typeof node !== "object" || node === null) return [];
  return Object.entries(node).flatMap(([key, value]) => {
    if (typeof value === "string") return SPOKEN.includes(key) ? [value] : [];
    return spokenText(value);
  });
}

function Unknown({ block }: { block: Block }) {
  const lines = spokenText(block);
  return (
    <div className="unknown" data-block-type={block.type}>
      <small>{block.type}</small>
      {lines.length ? lines.map((line, index) => <div key={index}>{line}</div>) : <code>{JSON.stringify(block)}</code>}
    </div>
  );
}

/** A block that cannot be drawn is shown as text; the rest of the message stays. */
class Guard extends Component<{ block: Block; children: ReactNode }, { failed: boolean }> {
  state = { failed: false };

  static getDerivedStateFromError() {
    return { failed: true };
  }

  componentDidUpdate(before: { block: Block }) {
    // An edit may have repaired it.
    if (this.state.failed && before.block !== this.props.block) this.setState({ failed: false });
  }

  componentDidCatch(error: Error) {
    console.error(`Block ${this.props.block.type} could not be drawn:`, error);
  }

  render() {
    return this.state.failed ? <Unknown block={this.props.block} /> : this.props.children;
  }
}

function Section({ block }: { block: Block }) {
  const accessory = block.accessory as BlockElement | undefined;
  return (
    <div className="section">
      <div className="section-body">
        {block.text && <Text of={block.text} />}
        {block.fields && (
          <div className="fields">
            {(block.fields as TextObject[]).map((field, index) => (
              <div key={index}>
                <Text of={field} />
              </div>
            ))}
          </div>
        )}
      </div>
      {accessory && (
        <div className="accessory">
          <Element block_id={block.block_id ?? ""} element={accessory} />
        </div>
      )}
    </div>
  );
}

function Context({ block }: { block: Block }) {
  return (
    <div className="context">
      {(block.elements as Open[]).map((element, index) =>
        element.type === "image" ? (
          <img key={index} src={imageSource(element)} alt={element.alt_text ?? ""} />
        ) : (
          <div key={index}>
            <Text of={element as TextObject} />
          </div>
        ),
      )}
    </div>
  );
}

const imageSource = (of: Open): string => of.image_url ?? of.slack_file?.url ?? `files/${of.slack_file?.id}`;

export function Picture({ src, alt, title }: { src: string; alt: string; title?: ReactNode }) {
  const [shown, setShown] = useState(true);
  return (
    <figure className="picture">
      <figcaption>
        {title}
        <button type="button" className="link" aria-expanded={shown} onClick={() => setShown(!shown)} aria-label={shown ? t("Hide image") : t("Show image")}>
          <span aria-hidden="true">{shown ? "▾" : "▸"}</span>
        </button>
      </figcaption>
      {shown && (
        <a href={src} target="_blank" rel="noreferrer noopener">
          <img src={src} alt={alt} />
        </a>
      )}
    </figure>
  );
}

function Actions({ block }: { block: Block }) {
  return (
    <div className="actions" role="group">
      {(block.elements as BlockElement[]).map((element, index) => (
        <Element key={index} block_id={block.block_id ?? ""} element={element} />
      ))}
    </div>
  );
}

function Input({ block }: { block: Block }) {
  const inputId = useId();
  const surface = useContext(SurfaceContext);
  const block_id = block.block_id ?? "";
  const error = surface?.errors[block_id];
  const notes = [block.hint && `${inputId}-hint`, error && `${inputId}-error`].filter(Boolean).join(" ");
  return (
    <div className="input" data-block-id={block_id}>
      <label htmlFor={inputId}>
        {words(block.label)}
        {block.optional && <span className="optional"> {t("(optional)")}</span>}
      </label>
      <Element
        block_id={block_id}
        element={block.element}
        waits={!block.dispatch_action}
        label={words(block.label)}
        inputId={inputId}
        invalid={error !== undefined}
        describedBy={notes || undefined}
      />
      {block.hint && (
        <div className="hint" id={`${inputId}-hint`}>
          <Text of={block.hint} />
        </div>
      )}
      {error && (
        <div className="field-error" id={`${inputId}-error`} role="alert">
          {error}
        </div>
      )}
    </div>
  );
}

function Header({ block }: { block: Block }) {
  return (
    <h3 className={`header header-${block.level ?? 0}`}>
      <Text of={block.text} />
    </h3>
  );
}

function Alert({ block }: { block: Block }) {
  const level: string = block.level ?? "default";
  const mark: Record<string, string> = { info: "ℹ️", warning: "⚠️", error: "⛔", success: "✅" };
  return (
    <div className={`alert alert-${level}`} role="status">
      {mark[level] && (
        <span className="emoji" role="img" aria-label={level}>
          {mark[level]}
        </span>
      )}
      <Text of={block.text} />
    </div>
  );
}

function ContainerBlock({ block }: { block: Block }) {
  const children: Block[] = block.child_blocks ?? block.blocks ?? block.elements ?? [];
  const body = <Blocks blocks={children} />;
  const title = (
    <b>
      <Text of={block.title} />
    </b>
  );
  return (
    <div className="container-block">
      {block.is_collapsible ? (
        <details open={!block.default_collapsed}>
          <summary>{title}</summary>
          {body}
        </details>
      ) : (
        <>
          {block.title && title}
          {body}
        </>
      )}
    </div>
  );
}

function Drawn({ block }: { block: Block }): ReactNode {
  const names = useContext(NamesContext);
  switch (block.type) {
    case "section":
      return <Section block={block} />;
    case "header":
      return <Header block={block} />;
    case "divider":
      return <hr />;
    case "context":
      return <Context block={block} />;
    case "actions":
    case "context_actions":
      return <Actions block={block} />;
    case "input":
      return <Input block={block} />;
    case "image":
      return <Picture src={imageSource(block)} alt={block.alt_text ?? ""} title={<Text of={block.title} />} />;
    case "table":
      return <Table block={block} />;
    case "data_table":
      return <DataTable block={block} />;
    case "alert":
      return <Alert block={block} />;
    case "container":
      return <ContainerBlock block={block} />;
    default:
      // `names` in the key: mentions inside the library's blocks follow the directory once it has arrived.
      return LIBRARY_BLOCKS.includes(block.type) ? (
        <ReadOnly key={names.people.length} block={block} />
      ) : (
        <Unknown block={block} />
      );
  }
}

export function Blocks({ blocks }: { blocks: Block[] }) {
  return (
    <div className="blocks">
      {blocks.map((block, index) => (
        // By place, not by block_id: apps give a new id with each edit, and a redraw would lose focus and flicker.
        <Guard key={`${index}/${block.type}`} block={block}>
          <div className="block" data-block-id={block.block_id} data-block-type={block.type}>
            <Drawn block={block} />
          </div>
        </Guard>
      ))}
    </div>
  );
}

/** What an older attachment holds: a coloured bar beside text, fields or blocks. */
export function Attachment({ attachment }: { attachment: Open }) {
  const color: string = attachment.color ? `#${String(attachment.color).replace(/^#/, "")}` : "#dddddd";
  return (
    <div className="attachment" style={{ borderLeftColor: color }}>
      {attachment.pretext && <Mrkdwn text={attachment.pretext} />}
      {attachment.title && <b>{attachment.title}</b>}
      {attachment.blocks ? (
        <Blocks blocks={attachment.blocks} />
      ) : (
        <Mrkdwn text={attachment.text ?? attachment.fallback ?? ""} />
      )}
      {attachment.image_url && <img src={attachment.image_url} alt={attachment.fallback ?? ""} />}
    </div>
  );
}
