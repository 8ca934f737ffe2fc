export type VNode = { type: unknown; props: Record<string, any>; key: any };
export function h(type: any, props: any, ...children: any[]): VNode;
export function render(vnode: any, parent: Element): void;
export class Component<P = any, S = any> {
  constructor(props?: P);
  props: P;
  state: S;
  setState(part: Partial<S>): void;
  forceUpdate(): void;
  componentDidMount?(): void;
  componentDidUpdate?(before: P): void;
  componentWillUnmount?(): void;
}
