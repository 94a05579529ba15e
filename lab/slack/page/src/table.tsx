// table and data_table blocks: a real table with header cells; a data_table also sorts and pages.
import { useState, type ReactNode } from "react";
import { Plain } from "./mrkdwn";
import { ReadOnly } from "./readonly";
import type { Block, Open } from "./types";
import { t } from "./texts";

function Cell({ cell }: { cell: Open }): ReactNode {
  if (cell.type === "rich_text") return <ReadOnly block={cell as Block} />;
  return <Plain text={String(cell.text ?? cell.value ?? "")} />;
}

const columnStyle = (settings: Open[] | undefined, column: number): React.CSSProperties => ({
  textAlign: settings?.[column]?.align ?? "left",
  whiteSpace: settings?.[column]?.is_wrapped ? "normal" : "nowrap",
});

export function Table({ block }: { block: Block }) {
  const [head, ...rows] = block.rows as Open[][];
  return (
    <div className="table-scroll" tabIndex={0} role="region" aria-label={block.caption ?? t("Table")}>
      <table>
        <thead>
          <tr>
            {head.map((cell, column) => (
              <th key={column} scope="col" style={columnStyle(block.column_settings, column)}>
                <Cell cell={cell} />
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={index}>
              {row.map((cell, column) => (
                <td key={column} style={columnStyle(block.column_settings, column)}>
                  <Cell cell={cell} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const cellKey = (cell: Open): number | string => (cell.type === "raw_number" ? cell.value : JSON.stringify(cell.text ?? cell));

function compare(a: Open, b: Open): number {
  const [x, y] = [cellKey(a), cellKey(b)];
  return typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
}

export function DataTable({ block }: { block: Block }) {
  const [head, ...rows] = block.rows as Open[][];
  const [sort, setSort] = useState<{ column: number; down: boolean } | null>(null);
  const [page, setPage] = useState(0);
  const size: number = block.page_size ?? 5;
  const pages = Math.max(1, Math.ceil(rows.length / size));
  const sorted = sort
    ? [...rows].sort((a, b) => compare(a[sort.column], b[sort.column]) * (sort.down ? -1 : 1))
    : rows;
  const order = (column: number) => (sort?.column !== column ? "none" : sort.down ? "descending" : "ascending");
  return (
    <div className="data-table">
      <div className="table-scroll" tabIndex={0} role="region" aria-label={block.caption}>
        <table>
          <caption>{block.caption}</caption>
          <thead>
            <tr>
              {head.map((cell, column) => (
                <th key={column} scope="col" aria-sort={order(column)}>
                  <button
                    type="button"
                    onClick={() => setSort({ column, down: sort?.column === column && !sort.down })}
                  >
                    <Cell cell={cell} /> <span aria-hidden="true">{{ none: "", ascending: "↑", descending: "↓" }[order(column)]}</span>
                  </button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {sorted.slice(page * size, (page + 1) * size).map((row, index) => (
              <tr key={index}>
                {row.map((cell, column) =>
                  column === (block.row_header_column_index ?? 0) ? (
                    <th key={column} scope="row">
                      <Cell cell={cell} />
                    </th>
                  ) : (
                    <td key={column} style={{ textAlign: cell.type === "raw_number" ? "right" : "left" }}>
                      <Cell cell={cell} />
                    </td>
                  ),
                )}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {pages > 1 && (
        <div className="pager">
          <button type="button" className="link" disabled={page === 0} onClick={() => setPage(page - 1)}>
            Previous
          </button>
          <span>
            Page {page + 1} of {pages}
          </span>
          <button type="button" className="link" disabled={page + 1 >= pages} onClick={() => setPage(page + 1)}>
            Next
          </button>
        </div>
      )}
    </div>
  );
}
